//! Streams whose bodies are waited for, because only those tell whether they read.

/// Streams by their number, and how much of their bodies has come; bytes.
#[derive(Debug, Default)]
pub struct Awaited(Vec<(u32, usize)>);

impl Awaited {
    /// Notes how much of a stream's body has come.
    pub fn note(&mut self, context_id: u32, size_bytes: usize) {
        match self.find(context_id) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    known.1 = size_bytes;
                }
            }
            Err(at) => self.0.insert(at, (context_id, size_bytes)),
        }
    }

    /// How much of a stream's body has come, if it is waited for.
    pub fn size_bytes(&self, context_id: u32) -> Option<usize> {
        let at = self.find(context_id).ok()?;
        self.0.get(at).map(|(_, size_bytes)| *size_bytes)
    }

    /// Waits for this one no more.
    pub fn remove(&mut self, context_id: u32) {
        if let Ok(at) = self.find(context_id) {
            self.0.remove(at);
        }
    }

    fn find(&self, context_id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&context_id, |(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_and_go_in_any_order() {
        let mut awaited = Awaited::default();
        for id in [3, 1, 2, 1] {
            awaited.note(id, 10 * id as usize);
        }
        awaited.remove(2);
        awaited.remove(7);
        assert_eq!([1, 2, 3].map(|id| awaited.size_bytes(id)), [Some(10), None, Some(30)]);
    }
}
