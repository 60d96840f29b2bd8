//! The loops with the SIMD of WebAssembly.

use super::{
    CODE_LANES, HEAD_BYTES, HEAD_LANES, HeadQuery, LANES, PROJECT_LANES, QUAD, SQUARE_LANES,
};
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

pub fn squares_lanes(chunks: &[[f32; SQUARE_LANES]]) -> [f64; SQUARE_LANES] {
    let mut sums = [f64x2_splat(0.0); SQUARE_LANES / 2];
    for chunk in chunks {
        for (j, sums) in sums.chunks_exact_mut(2).enumerate() {
            // SAFETY: the chunk has 8 floats, of which j names the j-th four; no alignment
            // is needed.
            let four = unsafe { v128_load(chunk.as_ptr().add(4 * j).cast()) };
            let low = f64x2_promote_low_f32x4(four);
            let high = f64x2_promote_low_f32x4(i32x4_shuffle::<2, 3, 2, 3>(four, four));
            sums[0] = f64x2_add(sums[0], f64x2_mul(low, low));
            sums[1] = f64x2_add(sums[1], f64x2_mul(high, high));
        }
    }
    let mut lanes = [0.0; SQUARE_LANES];
    for (j, sum) in sums.into_iter().enumerate() {
        // SAFETY: `lanes` has 8 numbers, of which j names the j-th two.
        unsafe { v128_store(lanes.as_mut_ptr().add(2 * j).cast(), sum) };
    }
    lanes
}

pub fn project_lanes<const N: usize>(rows: [&[f32]; N], x: &[f32]) -> [[f32; PROJECT_LANES]; N] {
    let rows = rows.map(|row| &row[..x.len()]);
    let mut sums = [[f32x4_splat(0.0); 2]; N];
    for (i, x) in x.chunks_exact(PROJECT_LANES).enumerate() {
        // SAFETY: the chunk holds 8 floats, and so does each row from 8 * i on, being as
        // long as `x`; no alignment is needed.
        unsafe {
            let (low, high) = (
                v128_load(x.as_ptr().cast()),
                v128_load(x.as_ptr().add(4).cast()),
            );
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let row = row.as_ptr().add(PROJECT_LANES * i);
                let products = (
                    f32x4_mul(low, v128_load(row.cast())),
                    f32x4_mul(high, v128_load(row.add(4).cast())),
                );
                sums[0] = f32x4_add(sums[0], products.0);
                sums[1] = f32x4_add(sums[1], products.1);
            }
        }
    }
    sums.map(|sums| {
        let mut lanes = [0.0; PROJECT_LANES];
        // SAFETY: `lanes` has 8 floats.
        unsafe {
            v128_store(lanes.as_mut_ptr().cast(), sums[0]);
            v128_store(lanes.as_mut_ptr().add(4).cast(), sums[1]);
        }
        lanes
    })
}

pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
    // Four times 16 codes at a time, because a turn of the loop costs about as much as 16.
    const WIDE: usize = 64;
    let mut sums = [i32x4_splat(0); 4];
    let whole = codes.len() - codes.len() % WIDE;
    let (wide, narrow) = codes.split_at(whole);
    for (q, c) in query.chunks_exact(WIDE).zip(wide.chunks_exact(WIDE)) {
        for (j, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `c` holds 64 codes and `q` as many values; no alignment is needed.
            let (low, high, codes) = unsafe {
                let q = q.as_ptr().add(16 * j);
                (
                    v128_load(q.cast()),
                    v128_load(q.add(8).cast()),
                    v128_load(c.as_ptr().add(16 * j).cast()),
                )
            };
            *sum = i32x4_add(
                *sum,
                i32x4_add(
                    i32x4_dot_i16x8(low, i16x8_extend_low_i8x16(codes)),
                    i32x4_dot_i16x8(high, i16x8_extend_high_i8x16(codes)),
                ),
            );
        }
    }
    let rest = query[whole..].chunks_exact(CODE_LANES);
    for (q, c) in rest.zip(narrow.chunks_exact(CODE_LANES)) {
        // SAFETY: both chunks hold 8 values; no alignment is needed.
        let (q, c) = unsafe {
            (
                v128_load(q.as_ptr().cast()),
                i16x8_load_extend_i8x8(c.as_ptr()),
            )
        };
        sums[0] = i32x4_add(sums[0], i32x4_dot_i16x8(q, c));
    }
    let sum = i32x4_add(i32x4_add(sums[0], sums[1]), i32x4_add(sums[2], sums[3]));
    (i32x4_extract_lane::<0>(sum).wrapping_add(i32x4_extract_lane::<1>(sum)))
        .wrapping_add(i32x4_extract_lane::<2>(sum).wrapping_add(i32x4_extract_lane::<3>(sum)))
}

/// Lanes `2k` and `2k + 1`, for each of four rows.
fn spread(lanes: &[i16; HEAD_LANES]) -> [v128; HEAD_LANES / 2] {
    std::array::from_fn(|k| {
        let pair = (i32::from(lanes[2 * k + 1]) << 16) | i32::from(lanes[2 * k] as u16);
        i32x4_splat(pair)
    })
}

pub fn scan_heads(heads: &[u8], query: &HeadQuery, above: i32, found: &mut Vec<(u32, i32)>) {
    const BYTES: usize = QUAD * HEAD_BYTES;
    /// Quads whose sums are kept before they are looked at.
    const QUADS: usize = 64;
    const AT_ONCE: usize = 4;
    let (whole, low) = (spread(&query.whole), spread(&query.low));
    let least = i32x4_splat(above);
    // The sums of some quads at once, so that each factor is loaded once for all of them.
    fn sums<const N: usize>(
        quads: &[u8],
        whole: &[v128; HEAD_LANES / 2],
        low: &[v128; HEAD_LANES / 2],
    ) -> [v128; N] {
        let quads = &quads[..N * BYTES];
        let mut sums = [i32x4_splat(0); N];
        for k in 0..HEAD_LANES / 2 {
            for (quad, sums) in sums.iter_mut().enumerate() {
                // SAFETY: each quad has 8 times 16 bytes; no alignment is needed.
                let lanes = unsafe { v128_load(quads.as_ptr().add(quad * BYTES + 16 * k).cast()) };
                let whole = i32x4_dot_i16x8(lanes, whole[k]);
                let low = i32x4_dot_i16x8(v128_and(lanes, i16x8_splat(0xff)), low[k]);
                *sums = i32x4_add(*sums, i32x4_add(whole, low));
            }
        }
        sums
    }
    // The processor cannot predict which quads have a matching row. Keeping all quads and
    // counting the matching ones costs less than branches. The same holds for their rows.
    let mut kept = [(0_u32, i32x4_splat(0)); QUADS];
    for (group, quads) in heads.chunks(QUADS * BYTES).enumerate() {
        let mut count = 0;
        let mut keep = |number: usize, sums: v128| {
            kept[count % QUADS] = (number as u32, sums);
            count += usize::from(v128_any_true(i32x4_gt(sums, least)));
        };
        let mut number = group * QUADS;
        let mut several = quads.chunks_exact(AT_ONCE * BYTES);
        for quads in &mut several {
            for sums in sums::<AT_ONCE>(quads, &whole, &low) {
                keep(number, sums);
                number += 1;
            }
        }
        for quad in several.remainder().chunks_exact(BYTES) {
            let [sums] = sums(quad, &whole, &low);
            keep(number, sums);
            number += 1;
        }
        let mut end = found.len();
        found.resize(end + count * QUAD, (0, 0));
        for &(number, sums) in &kept[..count] {
            let mut of_rows = [0_i32; QUAD];
            // SAFETY: `of_rows` has 16 bytes.
            unsafe { v128_store(of_rows.as_mut_ptr().cast(), sums) };
            for (row, &sum) in of_rows.iter().enumerate() {
                found[end] = (number * QUAD as u32 + row as u32, sum);
                end += usize::from(sum > above);
            }
        }
        found.truncate(end);
    }
}
