//! Images: the framework keeps them flat, `[batch * channels * height * width]`, and tells every operation the rest.

use meganeura::NodeId;

use crate::net::Net;
use crate::ops::reshape;

/// A flat NCHW tensor with its dimensions.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// The values.
    pub node: NodeId,
    /// N.
    pub batch: usize,
    /// C.
    pub channels: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
}

/// The dimensions of a convolution's kernel.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Channels out.
    pub out: usize,
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
    /// Step in both directions.
    pub stride: usize,
}

impl Kernel {
    /// A square kernel.
    pub fn square(out: usize, size: usize, stride: usize) -> Self {
        Self { out, height: size, width: size, stride }
    }
}

impl Image {
    /// Pixels of one channel.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Another tensor of the same dimensions.
    pub fn with(self, node: NodeId) -> Self {
        Self { node, ..self }
    }

    /// The convolution with the weight `{name}.weight`, padded by zeros to keep the size (before the stride).
    pub fn convolve(self, net: &mut Net, name: &str, kernel: Kernel) -> Self {
        let size = kernel.out * self.channels * kernel.height * kernel.width;
        let weight = net.parameter_as(&format!("{name}.weight"), &[size]);
        self.convolve_by(net, weight, kernel)
    }

    /// The same with a bias, `{name}.bias`.
    pub fn convolve_biased(self, net: &mut Net, name: &str, kernel: Kernel) -> Self {
        let image = self.convolve(net, name, kernel);
        let bias = net.parameter(&format!("{name}.bias"));
        image.add_to_channels(net, bias)
    }

    /// The same with any node as weight, `[out * channels * height * width]`.
    pub fn convolve_by(self, net: &mut Net, weight: NodeId, kernel: Kernel) -> Self {
        let (pad_h, pad_w) = (kernel.height / 2, kernel.width / 2);
        let node = net.graph.conv2d_hw(
            self.node,
            weight,
            self.batch as u32,
            self.channels as u32,
            self.height as u32,
            self.width as u32,
            kernel.out as u32,
            kernel.height as u32,
            kernel.width as u32,
            kernel.stride as u32,
            pad_h as u32,
            pad_w as u32,
        );
        let height = (self.height + 2 * pad_h - kernel.height) / kernel.stride + 1;
        let width = (self.width + 2 * pad_w - kernel.width) / kernel.stride + 1;
        Self { node, channels: kernel.out, height, width, ..self }
    }

    /// Group normalization with `{name}.weight` and `{name}.bias`.
    pub fn group_norm(self, net: &mut Net, name: &str, groups: usize, eps: f64) -> Self {
        let [weight, bias] = ["weight", "bias"].map(|part| net.parameter(&format!("{name}.{part}")));
        self.with(net.graph.group_norm(
            self.node,
            weight,
            bias,
            self.batch as u32,
            self.channels as u32,
            self.pixels() as u32,
            groups as u32,
            eps as f32,
        ))
    }

    /// Adds `values`, one for each sample and channel `[batch, channels]`, to every pixel.
    pub fn add_to_pixels(self, net: &mut Net, values: NodeId) -> Self {
        let values = reshape(net, values, &[self.batch * self.channels, 1]);
        let values = net.graph.broadcast_inner(values, self.pixels());
        let values = reshape(net, values, net.dims(self.node).to_vec().as_slice());
        self.with(net.graph.add(self.node, values))
    }

    /// Adds `values`, one for each channel `[channels]`, to every pixel.
    pub fn add_to_channels(self, net: &mut Net, values: NodeId) -> Self {
        self.with(net.graph.add_per_channel(self.node, values, self.channels as u32, self.pixels() as u32))
    }

    /// Multiplies every pixel by `values`, one for each channel `[channels]`.
    ///
    /// The framework's per-channel product wants the values for each sample, and it has no gradient: under training
    /// they are spread over the pixels too.
    pub fn scale_channels(self, net: &mut Net, values: NodeId) -> Self {
        let ones = net.filled(1.0, &[self.batch, 1]);
        let row = reshape(net, values, &[1, self.channels]);
        let tiled = net.graph.matmul(ones, row);
        if !net.training {
            return self.with(net.graph.mul_per_channel(self.node, tiled, self.channels as u32, self.pixels() as u32));
        }
        let column = reshape(net, tiled, &[self.batch * self.channels, 1]);
        let spread = net.graph.broadcast_inner(column, self.pixels());
        let spread = reshape(net, spread, net.dims(self.node).to_vec().as_slice());
        self.with(net.graph.mul(self.node, spread))
    }

    /// The largest of each 3x3 window with a stride of 2, for images without negative values (so that padding by
    /// zeros is as good as padding by minus infinity).
    ///
    /// The framework's own pooling has a wrong gradient. Under training the nine values of each window are taken apart
    /// by convolutions with a single one, and the first of the largest, as in `PyTorch`, receives the gradient.
    pub fn max_pool(self, net: &mut Net) -> Self {
        let (images, taps) = (self.batch * self.channels, 9);
        let kernel = Kernel::square(taps, 3, 2);
        if !net.training {
            let (batch, channels) = (self.batch as u32, self.channels as u32);
            let (h, w) = (self.height as u32, self.width as u32);
            let node = net.graph.max_pool_2d(self.node, batch, channels, h, w, 3, 3, 2, 1);
            return Self { node, height: (self.height - 1) / 2 + 1, width: (self.width - 1) / 2 + 1, ..self };
        }
        let selectors = (0..taps * taps).map(|i| f32::from(u8::from(i % taps == i / taps))).collect();
        let selectors = net.graph.constant(selectors, &[taps * taps]);
        let windows = Self { batch: images, channels: 1, ..self }.convolve_by(net, selectors, kernel);
        let (pixels, mut rest) = (windows.pixels() as u32, windows.node);
        let mut largest = None;
        for left in (0..taps as u32).rev() {
            let tap = if left == 0 { rest } else { net.graph.split_a(rest, images as u32, 1, left, pixels) };
            if left > 0 {
                rest = net.graph.split_b(rest, images as u32, 1, left, pixels);
            }
            largest = Some(match largest {
                None => tap,
                Some(largest) => larger(net, tap, largest),
            });
        }
        let node = largest.expect("nine values a window");
        Self { node, height: windows.height, width: windows.width, ..self }
    }

    /// Adds an image of the same dimensions.
    pub fn add(self, net: &mut Net, other: Self) -> Self {
        self.with(net.graph.add(self.node, other.node))
    }

    /// The channels of this image, then those of the other.
    pub fn concat(self, net: &mut Net, other: Self) -> Self {
        let (a, b) = (self.channels as u32, other.channels as u32);
        let node = net.graph.concat(self.node, other.node, self.batch as u32, a, b, self.pixels() as u32);
        Self { node, channels: self.channels + other.channels, ..self }
    }

    /// Every pixel doubled in both directions.
    pub fn upsample(self, net: &mut Net) -> Self {
        let (batch, channels) = (self.batch as u32, self.channels as u32);
        let node = net.graph.upsample_2x(self.node, batch, channels, self.height as u32, self.width as u32);
        Self { node, height: 2 * self.height, width: 2 * self.width, ..self }
    }

    /// The pixels as a time-major sequence `[pixels * batch, channels]`.
    pub fn tokens(self, net: &mut Net) -> NodeId {
        let rows = reshape(net, self.node, &[self.batch * self.channels, self.pixels()]);
        let columns = net.graph.transpose(rows);
        reshape(net, columns, &[self.pixels() * self.batch, self.channels])
    }

    /// The inverse of [`Image::tokens`]: an image of these dimensions.
    pub fn with_tokens(self, net: &mut Net, tokens: NodeId) -> Self {
        let rows = reshape(net, tokens, &[self.pixels(), self.batch * self.channels]);
        let columns = net.graph.transpose(rows);
        let size = self.batch * self.channels * self.pixels();
        self.with(reshape(net, columns, &[size]))
    }
}

/// Elementwise `a` where it is greater, otherwise `b`, to the last bit.
fn larger(net: &mut Net, a: NodeId, b: NodeId) -> NodeId {
    let ones = net.filled(1.0, net.dims(a).to_vec().as_slice());
    let greater = net.graph.greater(a, b);
    let opposite = net.graph.neg(greater);
    let otherwise = net.graph.add(ones, opposite);
    let [a, b] = [(greater, a), (otherwise, b)].map(|(mask, x)| net.graph.mul(mask, x));
    net.graph.add(a, b)
}
