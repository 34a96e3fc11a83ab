//! Headers as the host hands them over: one block of bytes, read in place.

use quiesce_policy::Headers;

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
}

impl Headers for HeaderBlock {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a [u8], &'a [u8])) -> bool {
        self.try_visit(each).is_some()
    }
}

impl HeaderBlock {
    fn try_visit<'a>(&'a self, each: &mut dyn FnMut(&'a [u8], &'a [u8])) -> Option<()> {
        let (count, rest) = self.0.split_first_chunk()?;
        let (lengths, text) = rest.split_at_checked(number(*count).checked_mul(8)?)?;
        let mut start = 0_usize;
        for lengths in lengths.chunks_exact(8) {
            let (name_bytes, value_bytes) = lengths.split_first_chunk()?;
            let name_end = start.checked_add(number(*name_bytes))?;
            let value_end = name_end.checked_add(number(*value_bytes.first_chunk()?))?.checked_add(1)?;
            each(text.get(start..name_end)?, text.get(name_end + 1..value_end)?);
            start = value_end.checked_add(1)?;
        }
        (start == text.len()).then_some(())
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

    fn pairs(bytes: Vec<u8>) -> Option<Vec<(String, String)>> {
        let block = HeaderBlock::new(bytes);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut pairs = Vec::new();
        block.visit(&mut |name, value| pairs.push((text(name), text(value)))).then_some(pairs)
    }

    #[test]
    fn reads_what_the_host_writes() {
        let expected =
            [(":method", "GET"), ("empty", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(block(&[(":method", "GET"), ("empty", "")])).unwrap(), expected);
    }

    #[test]
    fn a_block_cut_short_anywhere_is_not_whole() {
        let whole = block(&[(":method", "GET"), ("a", "b")]);
        for length in 0..whole.len() {
            assert_eq!(pairs(whole[..length].to_vec()), None, "{length}");
        }
        assert_eq!(pairs(vec![255; 64]), None);
    }
}
