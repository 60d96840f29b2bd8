//! Sorting, and finding what only one of two sequences has.
//!
//! These are called through `dyn`, so that the component holds them once.

use std::cmp::Ordering;

/// The places of a sequence, so that its members are in order; equal ones stay as they were.
pub fn sorted(len: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    let mut merged = Vec::with_capacity(len);
    let mut width = 1;
    while width < len {
        merged.clear();
        let mut start = 0;
        while start < len {
            let middle = (start + width).min(len);
            let end = (middle + width).min(len);
            let (mut a, mut b) = (start, middle);
            while a < middle || b < end {
                let first = b == end || a < middle && order(places[a], places[b]).is_le();
                let next = if first { &mut a } else { &mut b };
                merged.push(places[*next]);
                *next += 1;
            }
            start = end;
        }
        std::mem::swap(&mut places, &mut merged);
        width *= 2;
    }
    places
}

/// The places in two sequences whose members have no equal in the other one, each with its own
/// partner. The sequences are given as their places in order.
pub fn unmatched(
    a: &[usize],
    b: &[usize],
    order: &dyn Fn(usize, usize) -> Ordering,
) -> (Vec<usize>, Vec<usize>) {
    let (mut of_a, mut of_b) = (vec![true; a.len()], vec![true; b.len()]);
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match order(a[i], b[j]) {
            Ordering::Less => i += 1,
            Ordering::Greater => j += 1,
            Ordering::Equal => {
                of_a[a[i]] = false;
                of_b[b[j]] = false;
                i += 1;
                j += 1;
            }
        }
    }
    let places =
        |alone: Vec<bool>| -> Vec<usize> { (0..alone.len()).filter(|at| alone[*at]).collect() };
    (places(of_a), places(of_b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_member_has_one_partner() {
        let (a, b) = ([3, 1, 1, 2], [1, 4, 3]);
        let of_a = sorted(4, &|x, y| a[x].cmp(&a[y]));
        let of_b = sorted(3, &|x, y| b[x].cmp(&b[y]));
        assert_eq!(of_a, [1, 2, 3, 0]);
        let alone = unmatched(&of_a, &of_b, &|x, y| a[x].cmp(&b[y]));
        assert_eq!(alone, (vec![2, 3], vec![1]));
    }

    proptest! {
        #[test]
        fn it_sorts(items in prop::collection::vec(0_u8..9, 0..40)) {
            let mut expected: Vec<usize> = (0..items.len()).collect();
            expected.sort_by_key(|at| items[*at]);
            prop_assert_eq!(sorted(items.len(), &|x, y| items[x].cmp(&items[y])), expected);
        }
    }
}
