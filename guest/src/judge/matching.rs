//! Sorting, and finding what only one of two sequences has.

/// The places of a sequence with their keys, in the order of the keys; equal ones stay as they were.
/// A key stands above its place in an item.
#[inline(never)]
pub fn sorted(len: usize, key: &dyn Fn(usize) -> u32) -> Vec<u64> {
    let mut items: Vec<u64> = (0..len as u64).collect();
    for item in &mut items {
        *item |= u64::from(key(*item as usize)) << 32;
    }
    // A shell sort: it is short, and texts are too.
    let mut gap = len;
    while gap > 1 {
        gap = (gap * 3 / 8).max(1);
        for start in gap..len {
            let mut at = start;
            while at >= gap && items[at] < items[at - gap] {
                items.swap(at, at - gap);
                at -= gap;
            }
        }
    }
    items
}

/// The place of an item of a sorted sequence.
pub fn place(item: u64) -> usize {
    item as u32 as usize
}

/// The places in a sequence whose members have no equal in another one, each with its own partner. The
/// sequences are given in order.
#[inline(never)]
pub fn unmatched(a: &[u64], b: &[u64]) -> Vec<usize> {
    let mut alone = vec![false; a.len()];
    let mut others = b.iter().map(|item| item >> 32).peekable();
    for item in a {
        while others.next_if(|other| *other < item >> 32).is_some() {}
        alone[place(*item)] = others.next_if_eq(&(item >> 32)).is_none();
    }
    let mut places: Vec<usize> = (0..a.len()).collect();
    places.retain(|at| alone[*at]);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places(items: &[u64]) -> Vec<usize> {
        items.iter().map(|item| place(*item)).collect()
    }

    #[test]
    fn each_member_has_one_partner() {
        let (a, b) = ([3, 1, 1, 2], [1, 4, 3]);
        let of_a = sorted(4, &|at| a[at]);
        let of_b = sorted(3, &|at| b[at]);
        assert_eq!(places(&of_a), [1, 2, 3, 0]);
        assert_eq!(unmatched(&of_a, &of_b), [2, 3]);
        assert_eq!(unmatched(&of_b, &of_a), [1]);
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
