//! Windows that slide over images, as views: candle has neither strided slices nor a public `im2col`.

use candle_core::{Result, Tensor};

/// A window and how far it moves.
pub struct Window {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Step in both directions.
    pub stride: usize,
}

impl Window {
    /// Height and width of the grid of windows over an image of that height and width.
    pub fn output(&self, height: usize, width: usize) -> (usize, usize) {
        ((height - self.height) / self.stride + 1, (width - self.width) / self.stride + 1)
    }

    /// For each pixel of the window, row by row, that pixel of every window: views `[B, C, H', W']` of `x`
    /// `[B, C, H, W]`. With a stride `s`, row `i` of window `y` is row `y + i / s` of the rows that are `i` modulo `s`.
    ///
    /// # Errors
    /// Candle's.
    pub fn taps(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let (b, c, h, w) = x.dims4()?;
        let (out_h, out_w) = self.output(h, w);
        let s = self.stride;
        let fill = |n: usize| n.next_multiple_of(s) - n;
        let x = padded(x, (0, fill(h), 0, fill(w)), 0.0)?;
        let phases = x.reshape((b, c, (h + fill(h)) / s, s, (w + fill(w)) / s, s))?;
        let tap = |i: usize, j: usize| {
            let rows = phases.narrow(3, i % s, 1)?.narrow(2, i / s, out_h)?;
            rows.narrow(5, j % s, 1)?.narrow(4, j / s, out_w)?.squeeze(5)?.squeeze(3)
        };
        (0..self.height).flat_map(|i| (0..self.width).map(move |j| (i, j))).map(|(i, j)| tap(i, j)).collect()
    }

    /// Every window as a column: `[B, taps C, H' W']`; with the taps in reverse order when `mirrored`.
    ///
    /// # Errors
    /// Candle's.
    pub fn patches(&self, x: &Tensor, mirrored: bool) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        if (self.height, self.width, self.stride) == (1, 1, 1) {
            return x.reshape((b, c, h * w));
        }
        let mut taps = self.taps(x)?;
        if mirrored {
            taps.reverse();
        }
        let taps = taps.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        let (out_h, out_w) = self.output(h, w);
        Tensor::cat(&taps, 1)?.reshape((b, (), out_h * out_w))
    }

    /// The reverse of [`Window::taps`]: adds up, at each pixel of an image of that height and width, what the windows
    /// over it hold for it.
    ///
    /// # Errors
    /// Candle's.
    pub fn gather(&self, taps: &[Tensor], height: usize, width: usize) -> Result<Tensor> {
        let s = self.stride;
        let (rows, columns) = (height.div_ceil(s), width.div_ceil(s));
        let phase = |p: usize, q: usize| {
            let mut sum: Option<Tensor> = None;
            for i in (p..self.height).step_by(s) {
                for j in (q..self.width).step_by(s) {
                    let tap = &taps[i * self.width + j];
                    let (_, _, h, w) = tap.dims4()?;
                    let edge = (i / s, rows - h - i / s, j / s, columns - w - j / s);
                    let tap = padded(tap, edge, 0.0)?;
                    sum = Some(match sum {
                        None => tap,
                        Some(sum) => (sum + tap)?,
                    });
                }
            }
            let (b, c, ..) = taps[0].dims4()?;
            sum.map_or_else(|| Tensor::zeros((b, c, rows, columns), taps[0].dtype(), taps[0].device()), Ok)
        };
        let row = |p| Tensor::stack(&(0..s).map(|q| phase(p, q)).collect::<Result<Vec<_>>>()?, 4);
        let (b, c, ..) = taps[0].dims4()?;
        let image = Tensor::stack(&(0..s).map(row).collect::<Result<Vec<_>>>()?, 3)?;
        image.reshape((b, c, rows * s, columns * s))?.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()
    }
}

/// `x` `[B, C, H, W]` with `value` around it: (above, below, left, right).
///
/// # Errors
/// Candle's.
pub fn padded(x: &Tensor, edge: (usize, usize, usize, usize), value: f32) -> Result<Tensor> {
    let side = |x: &Tensor, dim: usize, before: usize, after: usize| {
        let strip = |n: usize| {
            let mut shape = x.dims().to_vec();
            shape[dim] = n;
            Tensor::full(value, shape, x.device())
        };
        let mut parts = Vec::with_capacity(3);
        if before > 0 {
            parts.push(strip(before)?);
        }
        parts.push(x.clone());
        if after > 0 {
            parts.push(strip(after)?);
        }
        if parts.len() == 1 { Ok(x.clone()) } else { Tensor::cat(&parts, dim)?.contiguous() }
    };
    side(&side(x, 2, edge.0, edge.1)?, 3, edge.2, edge.3)
}

/// The pixels of `x` `[B, C, H, W]` moved `stride` apart, with zeros between: `[B, C, (H - 1) s + 1, (W - 1) s + 1]`.
///
/// # Errors
/// Candle's.
pub fn dilated(x: &Tensor, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let (b, c, h, w) = x.dims4()?;
    let columns = x.reshape((b, c, h, w, 1))?.pad_with_zeros(4, 0, stride - 1)?.reshape((b, c, h, 1, w * stride))?;
    let rows = columns.pad_with_zeros(3, 0, stride - 1)?.reshape((b, c, h * stride, w * stride))?;
    rows.narrow(2, 0, (h - 1) * stride + 1)?.narrow(3, 0, (w - 1) * stride + 1)?.contiguous()
}
