"""What has to be shipped: executables and environments."""
