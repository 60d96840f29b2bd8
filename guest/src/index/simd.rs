//! Dot products, the same to the bit with and without SIMD.
//!
//! Only fixed-width SIMD is used, and a fixed order of summation: value `i` is added
//! to lane `i % 16`, and the lanes are summed pairwise at the end.

/// Lanes of the float sum, and the multiple that code rows are padded to.
pub const LANES: usize = 16;

/// The dot product of two vectors of the same length in float32.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let whole = n - n % LANES;
    let mut lanes = lanes_f32(&a[..whole], &b[..whole]);
    for (lane, (x, y)) in lanes.iter_mut().zip(a[whole..n].iter().zip(&b[whole..n])) {
        *lane += x * y;
    }
    let quad = |j: usize| (lanes[j] + lanes[j + 4]) + (lanes[j + 8] + lanes[j + 12]);
    (quad(0) + quad(1)) + (quad(2) + quad(3))
}

/// The dot product of a widened query with a row of codes, both padded with zeros
/// to a multiple of [`LANES`]. Exact while `|query| < 2^11` and the length is at
/// most 8192.
pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
    debug_assert!(query.len() == codes.len() && query.len().is_multiple_of(LANES));
    imp::dot_codes(query, codes)
}

/// The lane sums of two slices whose length is a multiple of [`LANES`].
fn lanes_f32(a: &[f32], b: &[f32]) -> [f32; LANES] {
    imp::lanes_f32(a, b)
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use super::LANES;
    use core::arch::wasm32::*;

    pub fn lanes_f32(a: &[f32], b: &[f32]) -> [f32; LANES] {
        let mut sums = [f32x4_splat(0.0); 4];
        for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
            for (j, sum) in sums.iter_mut().enumerate() {
                // SAFETY: both chunks hold 16 floats, and v128_load needs no alignment.
                let product = unsafe {
                    f32x4_mul(
                        v128_load(a.as_ptr().add(4 * j).cast()),
                        v128_load(b.as_ptr().add(4 * j).cast()),
                    )
                };
                *sum = f32x4_add(*sum, product);
            }
        }
        let mut lanes = [0.0; LANES];
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: `lanes` has 16 floats, of which j names the j-th four.
            unsafe { v128_store(lanes.as_mut_ptr().add(4 * j).cast(), sum) };
        }
        lanes
    }

    pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
        // Four chunks at a time: a loop's turn costs about as much as a chunk.
        const WIDE: usize = 4 * LANES;
        let mut sums = [i32x4_splat(0); 4];
        let whole = codes.len() - codes.len() % WIDE;
        let (wide, narrow) = codes.split_at(whole);
        for (q, c) in query.chunks_exact(WIDE).zip(wide.chunks_exact(WIDE)) {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = i32x4_add(
                    *sum,
                    dot_lanes(&q[j * LANES..][..LANES], &c[j * LANES..][..LANES]),
                );
            }
        }
        for (q, c) in query[whole..]
            .chunks_exact(LANES)
            .zip(narrow.chunks_exact(LANES))
        {
            sums[0] = i32x4_add(sums[0], dot_lanes(q, c));
        }
        let sum = i32x4_add(i32x4_add(sums[0], sums[1]), i32x4_add(sums[2], sums[3]));
        (i32x4_extract_lane::<0>(sum).wrapping_add(i32x4_extract_lane::<1>(sum)))
            .wrapping_add(i32x4_extract_lane::<2>(sum).wrapping_add(i32x4_extract_lane::<3>(sum)))
    }

    /// Products of 16 values, summed into 4 lanes.
    #[inline(always)]
    fn dot_lanes(query: &[i16], codes: &[i8]) -> v128 {
        debug_assert!(query.len() == LANES && codes.len() == LANES);
        // SAFETY: both slices hold 16 values, and v128_load needs no alignment.
        let (low, high, codes) = unsafe {
            (
                v128_load(query.as_ptr().cast()),
                v128_load(query.as_ptr().add(8).cast()),
                v128_load(codes.as_ptr().cast()),
            )
        };
        i32x4_add(
            i32x4_dot_i16x8(low, i16x8_extend_low_i8x16(codes)),
            i32x4_dot_i16x8(high, i16x8_extend_high_i8x16(codes)),
        )
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    use super::LANES;

    pub fn lanes_f32(a: &[f32], b: &[f32]) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
            for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += x * y;
            }
        }
        lanes
    }

    pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
        query.iter().zip(codes).fold(0, |sum, (&q, &c)| {
            sum.wrapping_add(i32::from(q) * i32::from(c))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dot_f32_is_close_to_float64(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..100)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let exact: f64 = pairs.iter().map(|&(x, y)| f64::from(x) * f64::from(y)).sum();
            prop_assert!((f64::from(dot_f32(&a, &b)) - exact).abs() < 1e-5);
        }
    }

    #[test]
    fn dot_codes_does_not_overflow_at_its_limits() {
        let (query, codes) = ([2047_i16; 8192], [-127_i8; 8192]);
        assert_eq!(dot_codes(&query, &codes), -2047 * 127 * 8192);
    }
}
