//! The axes of a kernel's domain: as few as its loads allow, in the order in which they are walked.

use crate::view::Load;

/// The address after `index` steps along an axis; none outside the valid range.
pub fn advance(at: Option<isize>, load: &Load, axis: usize, index: usize) -> Option<isize> {
    let (low, high) = load.valid[axis];
    at.filter(|_| (low..high).contains(&index)).map(|at| at + (index * load.strides[axis]).cast_signed())
}

/// Drops axes of length one and joins neighbours that every load walks as one.
pub fn merge_axes(domain: &mut Vec<usize>, loads: &mut [(usize, Load)], reduced: &mut Option<usize>) {
    let remove = |axis: usize, domain: &mut Vec<usize>, loads: &mut [(usize, Load)]| {
        domain.remove(axis);
        for (_, load) in loads {
            load.strides.remove(axis);
            load.valid.remove(axis);
        }
    };
    for axis in (0..domain.len()).rev() {
        if domain[axis] == 1 && loads.iter().all(|(_, load)| load.valid[axis] == (0, 1)) {
            remove(axis, domain, loads);
            *reduced = reduced.filter(|&r| r != axis).map(|r| if r > axis { r - 1 } else { r });
        }
    }
    for axis in (1..domain.len()).rev() {
        let (outer, inner) = (domain[axis - 1], domain[axis]);
        let whole = |load: &Load| load.valid[axis - 1] == (0, outer) && load.valid[axis] == (0, inner);
        let one_walk = |load: &Load| load.strides[axis - 1] == load.strides[axis] * inner;
        if *reduced == Some(axis)
            || *reduced == Some(axis - 1)
            || !loads.iter().all(|(_, load)| whole(load) && one_walk(load))
        {
            continue;
        }
        for (_, load) in loads.iter_mut() {
            load.valid[axis - 1] = (0, outer * inner);
            load.strides[axis - 1] = load.strides[axis];
        }
        domain[axis - 1] = outer * inner;
        remove(axis, domain, loads);
        *reduced = reduced.map(|r| if r > axis { r - 1 } else { r });
    }
    if domain.is_empty() {
        domain.push(1);
        for (_, load) in loads {
            load.strides.push(0);
            load.valid.push((0, 1));
        }
    }
}

/// Moves an axis to another place.
pub fn move_axis(domain: &mut Vec<usize>, loads: &mut [(usize, Load)], from: usize, to: usize) {
    let length = domain.remove(from);
    domain.insert(to, length);
    for (_, load) in loads {
        let (stride, valid) = (load.strides.remove(from), load.valid.remove(from));
        load.strides.insert(to, stride);
        load.valid.insert(to, valid);
    }
}
