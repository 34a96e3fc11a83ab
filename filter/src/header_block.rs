//! Headers as the host hands them over: one block of bytes, read in place.

/// All headers of a message, serialised as the Proxy-Wasm ABI has them: the number of pairs, the
/// length of every name and value, then names and values, each with a zero byte behind it; numbers
/// are 32 bits, little-endian.
#[derive(Debug, Default)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    /// Takes in the block.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Names and values in their order; nothing if the block is cut short anywhere.
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        self.read().unwrap_or_default()
    }

    fn read(&self) -> Option<Vec<(&[u8], &[u8])>> {
        let (count, rest) = self.0.split_first_chunk()?;
        let count = number(*count);
        let (lengths, text) = rest.split_at_checked(count.checked_mul(8)?)?;
        let mut pairs = Vec::with_capacity(count);
        let mut start = 0_usize;
        for lengths in lengths.chunks_exact(8) {
            let (name_bytes, value_bytes) = lengths.split_first_chunk()?;
            let name_end = start.checked_add(number(*name_bytes))?;
            let value_end = name_end.checked_add(number(*value_bytes.first_chunk()?))?.checked_add(1)?;
            pairs.push((text.get(start..name_end)?, text.get(name_end + 1..value_end)?));
            start = value_end.checked_add(1)?;
        }
        (start <= text.len()).then_some(pairs)
    }
}

fn number(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        for (name, value) in pairs {
            bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn reads_what_the_host_writes() {
        let block = HeaderBlock::new(block(&[(":method", "GET"), ("empty", "")]));
        assert_eq!(block.pairs(), [(&b":method"[..], &b"GET"[..]), (b"empty", b"")]);
        assert!(HeaderBlock::new(Vec::new()).pairs().is_empty());
    }

    #[test]
    fn a_block_cut_short_anywhere_is_no_block() {
        let whole = block(&[(":method", "GET"), ("a", "b")]);
        for length in 0..whole.len() {
            assert!(HeaderBlock::new(whole[..length].to_vec()).pairs().is_empty(), "{length}");
        }
        assert!(HeaderBlock::new(vec![255; 64]).pairs().is_empty());
    }
}
