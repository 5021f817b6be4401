//! Between the contract's sample-major tensors and the graph's time-major ones.

/// `[a, b, width]` to `[b, a, width]`.
pub fn swap_leading<T: Copy>(values: &[T], a: usize, b: usize, width: usize) -> Vec<T> {
    assert_eq!(values.len(), a * b * width, "swap_leading: {} values are not {a} x {b} x {width}", values.len());
    let mut swapped = Vec::with_capacity(values.len());
    for j in 0..b {
        for i in 0..a {
            let at = (i * b + j) * width;
            swapped.extend_from_slice(&values[at..at + width]);
        }
    }
    swapped
}

/// One-hot rows of width `classes`, each scaled by `weight`: the dense labels that the framework's cross entropy takes.
/// A row of `None` stays zero, and then neither its loss nor its gradient counts.
pub fn one_hot(labels: impl ExactSizeIterator<Item = Option<usize>>, classes: usize, weight: f32) -> Vec<f32> {
    let mut dense = vec![0.0; labels.len() * classes];
    for (row, label) in labels.enumerate() {
        if let Some(label) = label {
            dense[row * classes + label] = weight;
        }
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_twice_is_the_identity() {
        let values: Vec<u32> = (0..24).collect();
        let swapped = swap_leading(&values, 2, 3, 4);
        assert_eq!(swapped[..4], [0, 1, 2, 3]);
        assert_eq!(swapped[4..8], [12, 13, 14, 15]);
        assert_eq!(swap_leading(&swapped, 3, 2, 4), values);
    }

    #[test]
    fn one_hot_leaves_ignored_rows_zero() {
        assert_eq!(one_hot([Some(1), None].into_iter(), 3, 2.0), [0.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
