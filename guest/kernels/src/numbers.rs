//! Numbers as little-endian bytes, many at a time.

/// A number of a fixed size. The loops are not generic, so that they are compiled here.
pub trait Number: Sized + Copy {
    /// How many bytes it has.
    const BYTES: usize;
    /// The number from its bytes, [`BYTES`](Self::BYTES) of them.
    fn of(bytes: &[u8]) -> Self;
    /// The numbers from some bytes. Ignores bytes that are left over at the end.
    fn list(bytes: &[u8]) -> Vec<Self>;
    /// Appends the bytes of some numbers.
    fn append(numbers: &[Self], to: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Number for $type {
            const BYTES: usize = size_of::<$type>();

            fn of(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$type>()];
                own.copy_from_slice(bytes);
                <$type>::from_le_bytes(own)
            }

            fn list(bytes: &[u8]) -> Vec<Self> {
                let (numbers, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                numbers.iter().map(|own| <$type>::from_le_bytes(*own)).collect()
            }

            fn append(numbers: &[Self], to: &mut Vec<u8>) {
                let start = to.len();
                to.resize(start + numbers.len() * Self::BYTES, 0);
                let (places, _) = to[start..].as_chunks_mut::<{ size_of::<$type>() }>();
                for (place, number) in places.iter_mut().zip(numbers) {
                    *place = number.to_le_bytes();
                }
            }
        })*
    };
}

numbers!(u8 i8 u16 u32 u64 f32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_are_those_of_each_number(numbers in prop::collection::vec(any::<u32>(), 0..40), rest in 0_usize..4) {
            let mut bytes = vec![7];
            Number::append(&numbers, &mut bytes);
            let expected: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            prop_assert_eq!(&bytes[1..], expected);
            bytes.resize(bytes.len() + rest, 9);
            prop_assert_eq!(u32::list(&bytes[1..]), numbers);
        }

        #[test]
        fn every_bit_of_a_float_is_kept(bits in prop::collection::vec(any::<u32>(), 0..40)) {
            let floats: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let mut bytes = Vec::new();
            Number::append(&floats, &mut bytes);
            let back: Vec<u32> = f32::list(&bytes).into_iter().map(f32::to_bits).collect();
            prop_assert_eq!(back, bits);
        }
    }

    #[test]
    fn small_numbers_keep_their_signs() {
        let mut bytes = Vec::new();
        Number::append(&[-1_i8, 127, -128], &mut bytes);
        assert_eq!(bytes, [0xff, 0x7f, 0x80]);
        assert_eq!(i8::list(&bytes), [-1, 127, -128]);
        assert_eq!(u16::of(&[1, 2]), 0x0201);
    }
}
