//! Streams whose bodies are waited for, because something is to be done with them as a whole.

/// Streams by their number, and what is waited for.
#[derive(Debug, Default)]
pub struct Awaited(Vec<(u32, AwaitedBody)>);

/// A body that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedBody {
    /// How much of it has come; bytes.
    pub size_bytes: usize,
    /// If it is longer, nobody waits for the rest; bytes.
    pub max_bytes: usize,
}

impl Awaited {
    /// Waits for the body of a stream.
    pub fn wait_for(&mut self, context_id: u32, max_bytes: usize) {
        if let Err(at) = self.find(context_id) {
            self.0.insert(at, (context_id, AwaitedBody { size_bytes: 0, max_bytes }));
        }
    }

    /// Notes how much of a stream's body has come; returns what is waited for, if it is.
    pub fn note(&mut self, context_id: u32, size_bytes: usize) -> Option<AwaitedBody> {
        let at = self.find(context_id).ok()?;
        let (_, body) = self.0.get_mut(at)?;
        body.size_bytes = size_bytes;
        Some(*body)
    }

    /// What is waited for of a stream, if it is.
    pub fn get(&self, context_id: u32) -> Option<AwaitedBody> {
        let at = self.find(context_id).ok()?;
        self.0.get(at).map(|(_, body)| *body)
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
        for id in [3, 1, 2] {
            awaited.wait_for(id, 100);
        }
        assert_eq!(awaited.note(1, 10), Some(AwaitedBody { size_bytes: 10, max_bytes: 100 }));
        assert_eq!(awaited.note(4, 10), None);
        awaited.remove(2);
        awaited.remove(7);
        let sizes = [1, 2, 3].map(|id| awaited.get(id).map(|body| body.size_bytes));
        assert_eq!(sizes, [Some(10), None, Some(0)]);
    }
}
