//! The binomial distribution, with no more than the four basic operations: they give the same bits
//! on every host, and `exp`, `ln` and `pow` do not.

/// The most trials that are told apart: more count as so many.
const MOST: f64 = 10_000.0;

/// Smaller terms change no sum.
const TINY: f64 = 1e-30;

/// The probability of at most `wrong` in `of` trials which are each wrong with probability `p`. Parts of
/// a trial do not count. Between two whole numbers of wrong ones, it is on the straight line between them:
/// that is above the curve wherever the probability is below a fourth.
pub fn at_most(wrong: f64, of: f64, p: f64) -> f64 {
    let scale = if of > MOST { MOST / of } else { 1.0 };
    let (wrong, of) = (wrong * scale, (of * scale) as u32);
    let whole = wrong as u32;
    if whole >= of {
        return 1.0;
    }
    let part = wrong - f64::from(whole);
    // Each term is relative to the likeliest one, so that none of those that count is too small for
    // a float. Their sum stands for 1.
    let (mut low, mut all) = (0.0, 0.0);
    let mut add = |count: u32, term: f64| {
        all += term;
        if count <= whole {
            low += term;
        } else if count == whole + 1 {
            low += part * term;
        }
    };
    let odds = p / (1.0 - p);
    let likeliest = ((f64::from(of + 1) * p) as u32).min(of);
    let mut term = 1.0;
    add(likeliest, term);
    for count in (1..=likeliest).rev() {
        term *= f64::from(count) / (f64::from(of - count + 1) * odds);
        if term < TINY {
            break;
        }
        add(count - 1, term);
    }
    term = 1.0;
    for count in likeliest..of {
        term *= f64::from(of - count) * odds / f64::from(count + 1);
        if term < TINY {
            break;
        }
        add(count + 1, term);
    }
    low / all
}

/// The one-sided upper limit of Clopper and Pearson: the largest share of wrong ones that `wrong` in
/// `of` labels leave possible, at a confidence above 0.5 and below 1. It is 1 where there are no labels. It
/// counts whole labels, and more than 10,000 as so many at the same share.
pub fn upper_bound(wrong: f64, of: f64, confidence: f64) -> f64 {
    // Also where one of them is not a number.
    if !(wrong < of && of >= 1.0) {
        return 1.0;
    }
    let (mut possible, mut refuted) = (0.0, 1.0);
    for _ in 0..50 {
        let p = (possible + refuted) / 2.0;
        if at_most(wrong, of, p) > 1.0 - confidence {
            possible = p;
        } else {
            refuted = p;
        }
    }
    refuted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn it_is_the_limit_of_clopper_and_pearson() {
        // By exact fractions.
        for (wrong, of, limit) in [
            (0.0, 58.0, 0.050_339_338_330_4),
            (0.0, 59.0, 0.049_507_609_888_2),
            (1.0, 93.0, 0.049_993_978_388_0),
            (3.0, 200.0, 0.038_309_708_559_9),
            (5.0, 50.0, 0.198_833_002_516_4),
            (10.0, 20.0, 0.698_046_088_713_5),
        ] {
            assert!(near(upper_bound(wrong, of, 0.95), limit), "{wrong} of {of}");
        }
    }

    #[test]
    fn no_labels_refute_nothing() {
        for (wrong, of) in [
            (0.0, 0.0),
            (0.0, 0.9),
            (5.0, 5.0),
            (9.0, 5.0),
            (f64::NAN, 5.0),
            (0.0, f64::NAN),
        ] {
            assert_eq!(upper_bound(wrong, of, 0.95), 1.0, "{wrong} of {of}");
        }
    }

    #[test]
    fn nothing_is_too_small_or_too_large() {
        for p in [1e-300, 1e-9, 0.5, 0.99, 1.0 - 1e-16] {
            for of in [1.0, 3_000.0, 1e6, 1e300] {
                for share in [0.0, 1e-6, 0.3, 0.999, 1.0] {
                    let found = at_most(share * of, of, p);
                    assert!(
                        (0.0..=1.0 + 1e-9).contains(&found),
                        "{share} {of} {p}: {found}"
                    );
                }
            }
        }
        assert!(at_most(0.0, 3_000.0, 0.99) < 1e-30);
        assert!(near(at_most(2_999.0, 3_000.0, 0.99), 1.0));
    }

    /// Few trials, counted one by one.
    fn counted(wrong: u32, of: u32, p: f64) -> f64 {
        (0..1_u32 << of)
            .filter(|trials| trials.count_ones() <= wrong)
            .map(|trials| {
                let count = trials.count_ones();
                (0..count).map(|_| p).product::<f64>()
                    * (count..of).map(|_| 1.0 - p).product::<f64>()
            })
            .sum()
    }

    proptest! {
        #[test]
        fn it_is_the_sum_over_all_outcomes(wrong in 0_u32..9, of in 0_u32..10, p in 0.001..0.999) {
            let found = at_most(wrong.into(), of.into(), p);
            prop_assert!(near(found, counted(wrong, of, p)), "{}", found);
        }

        #[test]
        fn more_wrong_labels_bound_less_and_more_labels_bound_more(
            wrong in 0.0..200.0, more in 0.0..5.0, of in 1.0..3000.0, p in 0.001..0.999,
        ) {
            let found = at_most(wrong, of, p);
            prop_assert!(at_most(wrong + more, of, p) >= found - 1e-12);
            prop_assert!(at_most(wrong, of + more, p) <= found + 1e-12);
        }
    }
}
