//! Sorting, and finding what only one of two sequences has. An item is a key, and below it a place.

/// An item of a sequence.
pub fn item(key: u32, place: usize) -> u64 {
    u64::from(key) << 32 | place as u64
}

/// The key of an item.
pub fn key(item: u64) -> u32 {
    (item >> 32) as u32
}

/// The place of an item.
pub fn place(item: u64) -> usize {
    item as u32 as usize
}

/// Puts items in order.
#[inline(never)]
pub fn sort(items: &mut [u64]) {
    // A shell sort: it is short, and texts are too.
    let mut gap = items.len();
    while gap > 1 {
        gap = (gap * 3 / 8).max(1);
        for start in gap..items.len() {
            let (mut at, item) = (start, items[start]);
            while at >= gap && item < items[at - gap] {
                items[at] = items[at - gap];
                at -= gap;
            }
            items[at] = item;
        }
    }
}

/// The items of one sequence whose keys have no equal in another one, each with its own partner. Both are
/// in order.
#[inline(never)]
pub fn unmatched(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut alone = Vec::new();
    let mut others = b.iter();
    let mut other = others.next();
    for item in a {
        while let Some(found) = other
            && key(*found) < key(*item)
        {
            other = others.next();
        }
        if let Some(found) = other
            && key(*found) == key(*item)
        {
            other = others.next();
        } else {
            alone.push(*item);
        }
    }
    alone
}

/// The places of items whose keys have no equal in another sequence, in order. See [`unmatched`].
#[inline(never)]
pub fn places(a: &[u64], b: &[u64]) -> Vec<usize> {
    let mut alone = unmatched(a, b);
    for item in &mut alone {
        *item &= u64::from(u32::MAX);
    }
    sort(&mut alone);
    alone.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(keys: &[u32]) -> Vec<u64> {
        let mut items: Vec<u64> = (0..keys.len()).map(|at| item(keys[at], at)).collect();
        sort(&mut items);
        items
    }

    #[test]
    fn each_member_has_one_partner() {
        let (a, b) = (sorted(&[3, 1, 1, 2]), sorted(&[1, 4, 3]));
        assert_eq!(
            a.iter().map(|item| place(*item)).collect::<Vec<_>>(),
            [1, 2, 3, 0]
        );
        assert_eq!(places(&a, &b), [2, 3]);
        assert_eq!(places(&b, &a), [1]);
    }

    proptest! {
        #[test]
        fn it_sorts(keys in prop::collection::vec(0_u32..9, 0..40)) {
            let mut expected: Vec<usize> = (0..keys.len()).collect();
            expected.sort_by_key(|at| keys[*at]);
            let found: Vec<usize> = sorted(&keys).into_iter().map(place).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
