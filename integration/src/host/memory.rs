//! What the module's memory holds, and header maps as they cross into it.

use wasmtime::{Caller, Memory, Result, TypedFunc, bail, format_err};

use super::state::State;

/// Name and value of each header, in order.
pub(super) type Pairs = Vec<(String, Vec<u8>)>;

/// What the host needs of an instance to hand it data.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) memory: Memory,
    /// `proxy_on_memory_allocate`, or `malloc`.
    pub(super) allocate: TypedFunc<u32, u32>,
}

fn exports(caller: &Caller<'_, State>) -> Result<Exports> {
    caller
        .data()
        .exports
        .clone()
        .ok_or_else(|| format_err!("a host call that needs memory before there is any"))
}

/// The module's bytes from `ptr`.
pub(super) fn read(caller: &Caller<'_, State>, ptr: u32, size: u32) -> Result<Vec<u8>> {
    let memory = exports(caller)?.memory;
    let end = u64::from(ptr) + u64::from(size);
    let range = usize::try_from(ptr)?..usize::try_from(end)?;
    match memory.data(caller).get(range) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => bail!("{size} bytes at {ptr:#x} are not the module's"),
    }
}

/// The module's text from `ptr`.
pub(super) fn read_text(caller: &Caller<'_, State>, ptr: u32, size: u32) -> Result<String> {
    Ok(String::from_utf8(read(caller, ptr, size)?)?)
}

/// Writes where the module said.
pub(super) fn write(caller: &mut Caller<'_, State>, ptr: u32, bytes: &[u8]) -> Result<()> {
    let memory = exports(caller)?.memory;
    if ptr == 0 || memory.write(&mut *caller, usize::try_from(ptr)?, bytes).is_err() {
        bail!("{} bytes at {ptr:#x} are not the module's", bytes.len());
    }
    Ok(())
}

/// Hands data over: allocates in the module, which owns it from then on. Nothing is allocated for none.
pub(super) fn hand_over(
    caller: &mut Caller<'_, State>,
    bytes: &[u8],
    ptr_ptr: u32,
    size_ptr: u32,
) -> Result<()> {
    let size = u32::try_from(bytes.len())?;
    let mut ptr = 0;
    if size > 0 {
        ptr = exports(caller)?.allocate.call(&mut *caller, size)?;
        write(caller, ptr, bytes)?;
    }
    write(caller, ptr_ptr, &ptr.to_le_bytes())?;
    write(caller, size_ptr, &size.to_le_bytes())
}

/// Header pairs as they cross the boundary (`pairs_util.cc`: `marshalPairs`).
pub(super) fn marshal(pairs: &Pairs) -> Result<Vec<u8>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = u32::try_from(pairs.len())?.to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend(u32::try_from(name.len())?.to_le_bytes());
        bytes.extend(u32::try_from(value.len())?.to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name.bytes().chain([0]));
        bytes.extend(value.iter().copied().chain([0]));
    }
    Ok(bytes)
}

/// Header pairs from the module (`pairs_util.cc`: `toPairs`); what Envoy would drop is an error.
pub(super) fn unmarshal(bytes: &[u8]) -> Result<Pairs> {
    if bytes.is_empty() {
        return Ok(Pairs::new());
    }
    unmarshal_all(bytes).ok_or_else(|| format_err!("a malformed header map of {} bytes", bytes.len()))
}

fn unmarshal_all(bytes: &[u8]) -> Option<Pairs> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        usize::try_from(u32::from_le_bytes(*head)).ok()
    }
    fn text(bytes: &mut &[u8], size: usize) -> Option<Vec<u8>> {
        let text = bytes.get(..size)?.to_vec();
        let rest = bytes.get(size..)?.strip_prefix(&[0])?;
        *bytes = rest;
        Some(text)
    }
    let mut rest = bytes;
    let count = number(&mut rest)?;
    let sizes: Option<Vec<_>> = (0..count).map(|_| Some((number(&mut rest)?, number(&mut rest)?))).collect();
    let mut pairs = Pairs::new();
    for (name, value) in sizes? {
        let name = String::from_utf8(text(&mut rest, name)?).ok()?;
        pairs.push((name, text(&mut rest, value)?));
    }
    rest.is_empty().then_some(pairs)
}

/// The first value of a header, as Envoy's `getHeaderMapValue` gives.
pub(super) fn first<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a [u8]> {
    pairs.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_maps_cross_and_come_back() {
        let pairs = vec![(":path".to_owned(), b"/a".to_vec()), ("x".to_owned(), Vec::new())];
        let bytes = marshal(&pairs).unwrap();
        assert_eq!(unmarshal(&bytes).unwrap(), pairs);
        for cut in 1..bytes.len() {
            assert!(unmarshal(&bytes[..cut]).is_err(), "took a map cut at {cut}");
        }
    }
}
