"""Plan, sampling, statistics and machine facts."""
