//! The loops without SIMD.

use super::{HEAD_BYTES, HeadQuery, LANES, PROJECT_LANES, QUAD, SQUARE_LANES, head_byte};

pub fn lanes_f32(a: &[f32], b: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += x * y;
        }
    }
    lanes
}

pub fn squares_lanes(chunks: &[[f32; SQUARE_LANES]]) -> [f64; SQUARE_LANES] {
    let mut lanes = [0.0; SQUARE_LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    lanes
}

pub fn project_lanes<const N: usize>(rows: [&[f32]; N], x: &[f32]) -> [[f32; PROJECT_LANES]; N] {
    rows.map(|row| {
        let mut lanes = [0.0; PROJECT_LANES];
        for (x, row) in x
            .chunks_exact(PROJECT_LANES)
            .zip(row.chunks_exact(PROJECT_LANES))
        {
            for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(row)) {
                *lane += x * y;
            }
        }
        lanes
    })
}

pub fn dot_codes(query: &[i16], codes: &[i8]) -> i32 {
    query.iter().zip(codes).fold(0, |sum, (&q, &c)| {
        sum.wrapping_add(i32::from(q) * i32::from(c))
    })
}

pub fn scan_heads(heads: &[u8], query: &HeadQuery, above: i32, found: &mut Vec<(u32, i32)>) {
    for row in 0..heads.len() / (QUAD * HEAD_BYTES) * QUAD {
        let sum = query.dot(&std::array::from_fn(|b| heads[head_byte(row, b)]));
        if sum > above {
            found.push((row as u32, sum));
        }
    }
}
