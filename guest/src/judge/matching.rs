//! Sorting, and finding what only one of two sequences has.

/// The places of a sequence with their keys, in the order of the keys; equal ones stay as they were.
/// A key stands above its place in an item.
#[inline(never)]
pub fn sorted(len: usize, key: &dyn Fn(usize) -> u32) -> Vec<u64> {
    let mut items = Vec::with_capacity(len);
    for at in 0..len {
        items.push(u64::from(key(at)) << 32 | at as u64);
    }
    if items.is_sorted() {
        return items;
    }
    let mut merged = items.clone();
    let mut width = 1;
    while width < len {
        let (mut start, mut a, mut b) = (0, 0, width.min(len));
        for to in &mut merged {
            let middle = (start + width).min(len);
            let end = (middle + width).min(len);
            let first = b == end || a < middle && items[a] < items[b];
            let next = if first { &mut a } else { &mut b };
            *to = items[*next];
            *next += 1;
            if a == middle && b == end {
                (start, a, b) = (end, end, (end + width).min(len));
            }
        }
        std::mem::swap(&mut items, &mut merged);
        width *= 2;
    }
    items
}

/// The places in two sequences whose members have no equal in the other one, each with its own
/// partner. The sequences are given in order.
#[inline(never)]
pub fn unmatched(a: &[u64], b: &[u64]) -> [Vec<usize>; 2] {
    let mut alone = [vec![true; a.len()], vec![true; b.len()]];
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (one, other) = (*x >> 32, *y >> 32);
        if one == other {
            alone[0][*x as u32 as usize] = false;
            alone[1][*y as u32 as usize] = false;
        }
        i += usize::from(one <= other);
        j += usize::from(one >= other);
    }
    alone.map(|alone| {
        let mut places = Vec::new();
        for (at, is_alone) in alone.into_iter().enumerate() {
            if is_alone {
                places.push(at);
            }
        }
        places
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places(items: &[u64]) -> Vec<usize> {
        items.iter().map(|item| *item as u32 as usize).collect()
    }

    #[test]
    fn each_member_has_one_partner() {
        let (a, b) = ([3, 1, 1, 2], [1, 4, 3]);
        let of_a = sorted(4, &|at| a[at]);
        let of_b = sorted(3, &|at| b[at]);
        assert_eq!(places(&of_a), [1, 2, 3, 0]);
        assert_eq!(unmatched(&of_a, &of_b), [vec![2, 3], vec![1]]);
    }

    proptest! {
        #[test]
        fn it_sorts(items in prop::collection::vec(0_u32..9, 0..40)) {
            let mut expected: Vec<usize> = (0..items.len()).collect();
            expected.sort_by_key(|at| items[*at]);
            prop_assert_eq!(places(&sorted(items.len(), &|at| items[at])), expected);
        }
    }
}
