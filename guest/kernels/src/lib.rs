//! The inner loops of the vector index. Their results are the same to the bit with and without
//! SIMD. They are a separate package because they are compiled for speed, and the rest of the
//! component for size.
//!
//! The SIMD is fixed-width. Integer sums are exact. Float sums have a fixed order: value `i` is
//! added to lane `i % L`, and at the end the lanes are added pairwise.

pub mod numbers;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use portable as imp;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd as imp;

/// Lanes of [`dot_f32`].
pub const LANES: usize = 16;
/// Lanes of [`project`].
pub const PROJECT_LANES: usize = 8;
/// Lanes of [`squares_f64`].
const SQUARE_LANES: usize = 8;
/// Rows of codes are padded to a multiple of this.
pub const CODE_LANES: usize = 8;

/// Bytes of a row's head: 16 lanes of 16 bits.
pub const HEAD_BYTES: usize = 32;
/// 16-bit lanes of a head.
pub const HEAD_LANES: usize = HEAD_BYTES / 2;
/// How many heads are interleaved.
pub const QUAD: usize = 4;

/// The dot product of two vectors of the same length in float32.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let whole = n - n % LANES;
    let mut lanes = imp::lanes_f32(&a[..whole], &b[..whole]);
    for (lane, (x, y)) in lanes.iter_mut().zip(a[whole..n].iter().zip(&b[whole..n])) {
        *lane += x * y;
    }
    let quad = |j: usize| (lanes[j] + lanes[j + 4]) + (lanes[j + 8] + lanes[j + 12]);
    (quad(0) + quad(1)) + (quad(2) + quad(3))
}

/// The sum of the squares of a vector's values, in float64.
pub fn squares_f64(x: &[f32]) -> f64 {
    let (chunks, rest) = x.as_chunks::<SQUARE_LANES>();
    let mut lanes = imp::squares_lanes(chunks);
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The dot products of `x` with each row of `rows`. These are `out.len()` rows as long as `x`.
pub fn project(rows: &[f32], x: &[f32], out: &mut [f32]) {
    let (groups, rest) = out.as_chunks_mut::<4>();
    let mut rows = rows.chunks_exact(x.len());
    for group in groups {
        let [Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| rows.next()) else {
            return;
        };
        *group = project_rows([a, b, c, d], x);
    }
    for (out, row) in rest.iter_mut().zip(rows) {
        [*out] = project_rows([row], x);
    }
}

/// The products with several rows at a time, so that each value of `x` is loaded once.
fn project_rows<const N: usize>(rows: [&[f32]; N], x: &[f32]) -> [f32; N] {
    let whole = x.len() - x.len() % PROJECT_LANES;
    let mut lanes = imp::project_lanes(rows.map(|row| &row[..whole]), &x[..whole]);
    for (lanes, row) in lanes.iter_mut().zip(rows) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x[whole..].iter().zip(&row[whole..])) {
            *lane += x * y;
        }
    }
    lanes.map(|l| ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7])))
}

/// Adds `times` times `vector` to `sum`, value by value.
pub fn add_multiple(sum: &mut [f32], times: f32, vector: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += times * x;
    }
}

/// The dot product of two rows of codes of the same length, exact up to 2^17 codes.
pub fn dot_rows(a: &[i8], b: &[i8]) -> i32 {
    let products = a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y));
    products.sum()
}

/// The dot product of a widened query with a row of codes, both padded with zeros to a multiple
/// of [`CODE_LANES`]. Exact for values of the query below 2^11 and lengths up to 8192.
pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
    debug_assert!(query.len() == codes.len() && query.len().is_multiple_of(CODE_LANES));
    imp::dot_codes(query, codes)
}

/// A query for heads: the factors of each 16-bit lane as a whole (signed), and of its low byte
/// alone (unsigned).
#[derive(Clone, Debug, Default)]
pub struct HeadQuery {
    /// Within -2047..=2047, so that no sum overflows.
    pub whole: [i16; HEAD_LANES],
    /// Any value.
    pub low: [i16; HEAD_LANES],
}

impl HeadQuery {
    /// The sum over the lanes of one head.
    pub fn dot(&self, head: &[u8; HEAD_BYTES]) -> i32 {
        let (lanes, _) = head.as_chunks::<2>();
        lanes.iter().enumerate().fold(0_i32, |sum, (j, &lane)| {
            sum + i32::from(self.whole[j]) * i32::from(i16::from_le_bytes(lane))
                + i32::from(self.low[j]) * i32::from(lane[0])
        })
    }
}

/// The place of byte `b` of the head of `row` among interleaved heads. Four rows share 128 bytes,
/// and each 16 of these hold four bytes of every row.
pub fn head_byte(row: usize, b: usize) -> usize {
    row / QUAD * QUAD * HEAD_BYTES + b / 4 * 16 + row % QUAD * 4 + b % 4
}

/// Appends to `found` the number of each row of interleaved heads whose sum is greater than
/// `above`, and the sum, in ascending order. Rows are counted from 0. The last quad may include
/// padding.
pub fn scan_heads(heads: &[u8], query: &HeadQuery, above: i32, found: &mut Vec<(u32, i32)>) {
    imp::scan_heads(heads, query, above, found);
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

        #[test]
        fn rows_of_codes_have_an_exact_product(pairs in prop::collection::vec(any::<(i8, i8)>(), 0..100)) {
            let (a, b): (Vec<i8>, Vec<i8>) = pairs.iter().copied().unzip();
            let exact: i64 = pairs.iter().map(|&(x, y)| i64::from(x) * i64::from(y)).sum();
            prop_assert_eq!(i64::from(dot_rows(&a, &b)), exact);
        }

        #[test]
        fn multiples_are_added(values in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..40), times in -2.0_f32..2.0) {
            let (mut sum, vector): (Vec<f32>, Vec<f32>) = values.iter().copied().unzip();
            add_multiple(&mut sum, times, &vector);
            for (sum, (before, x)) in sum.iter().zip(values) {
                prop_assert_eq!(sum.to_bits(), (before + times * x).to_bits());
            }
        }

        #[test]
        fn squares_are_those_of_all_values(x in prop::collection::vec(-1.0_f32..1.0, 0..40)) {
            let exact: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
            prop_assert!((squares_f64(&x) - exact).abs() < 1e-13);
        }

        #[test]
        fn project_is_a_dot_product_a_row(
            (rows, x) in (1_usize..40, 0_usize..11).prop_flat_map(|(dim, n)| {
                let values = |n| prop::collection::vec(-1.0_f32..1.0, n);
                (values(dim * n), values(dim))
            }),
        ) {
            let mut out = vec![0.0; rows.len() / x.len()];
            project(&rows, &x, &mut out);
            for (row, out) in rows.chunks_exact(x.len()).zip(out) {
                prop_assert!((dot_f32(row, &x) - out).abs() < 1e-5);
                // A row's product does not depend on those beside it.
                let mut alone = [0.0];
                project(row, &x, &mut alone);
                prop_assert_eq!(alone[0].to_bits(), out.to_bits());
            }
        }
    }

    #[test]
    fn dot_codes_does_not_overflow_at_its_limits() {
        let (query, codes) = ([2047_i16; 8192], [-127_i8; 8192]);
        assert_eq!(dot_codes(&query, &codes), -2047 * 127 * 8192);
    }

    #[test]
    fn heads_do_not_overflow_at_their_limits() {
        for (whole, low, lane) in [
            (2047, i16::MAX, i16::MAX),
            (-2047, i16::MAX, i16::MIN | 0xff),
        ] {
            let query = HeadQuery {
                whole: [whole; HEAD_LANES],
                low: [low; HEAD_LANES],
            };
            let head: [u8; HEAD_BYTES] = std::array::from_fn(|b| lane.to_le_bytes()[b % 2]);
            let sum = i64::from(whole) * i64::from(lane) + i64::from(low) * i64::from(lane as u8);
            assert_eq!(i64::from(query.dot(&head)), 16 * sum);
        }
    }

    #[test]
    fn heads_are_found_where_they_were_put() {
        let rows = 11;
        let heads: Vec<[u8; HEAD_BYTES]> = (0..rows)
            .map(|row| std::array::from_fn(|b| (row * 37 + b * 11) as u8))
            .collect();
        let mut interleaved = vec![0; rows.next_multiple_of(QUAD) * HEAD_BYTES];
        for (row, head) in heads.iter().enumerate() {
            for (b, &byte) in head.iter().enumerate() {
                interleaved[head_byte(row, b)] = byte;
            }
        }
        let query = HeadQuery {
            whole: std::array::from_fn(|j| j as i16 * 100 - 700),
            low: std::array::from_fn(|j| 900 - j as i16 * 130),
        };
        let sums: Vec<i32> = heads.iter().map(|head| query.dot(head)).collect();
        for above in [i32::MIN, sums[3], sums[7], i32::MAX] {
            let mut found = Vec::new();
            scan_heads(&interleaved, &query, above, &mut found);
            found.retain(|&(row, _)| (row as usize) < rows);
            let expected: Vec<(u32, i32)> = (0..)
                .zip(sums.iter().copied())
                .filter(|&(_, sum)| sum > above)
                .collect();
            assert_eq!(found, expected);
        }
    }
}
