//! Streams that are held, and what each of them waits for.

/// Streams by their number, and what they wait for.
#[derive(Debug, Default)]
pub struct Waiting(Vec<(u32, WaitsFor)>);

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The whole of its body, because something is to be done with it.
    Body {
        /// How much has come; bytes.
        size_bytes: usize,
        /// If it is longer, nobody waits for the rest; bytes.
        max_bytes: usize,
    },
    /// The companion's answer, which is for its client.
    Answer {
        /// The call that it answers.
        token: u32,
    },
}

impl Waiting {
    /// Has a stream wait for this from now on.
    pub fn set(&mut self, context_id: u32, waits_for: WaitsFor) {
        match self.find(context_id) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    known.1 = waits_for;
                }
            }
            Err(at) => self.0.insert(at, (context_id, waits_for)),
        }
    }

    /// What a stream waits for, if it does.
    pub fn get(&self, context_id: u32) -> Option<WaitsFor> {
        let at = self.find(context_id).ok()?;
        self.0.get(at).map(|(_, waits_for)| *waits_for)
    }

    /// The stream that waits for the answer to this call, which it does no more.
    pub fn take_answered(&mut self, token: u32) -> Option<u32> {
        let answer = WaitsFor::Answer { token };
        let at = self.0.iter().position(|(_, waits_for)| *waits_for == answer)?;
        Some(self.0.remove(at).0)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This one waits no more.
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
        let mut waiting = Waiting::default();
        let body = |size_bytes| WaitsFor::Body { size_bytes, max_bytes: 100 };
        for id in [3, 1, 2, 1] {
            waiting.set(id, body(10 * id as usize));
        }
        waiting.set(3, WaitsFor::Answer { token: 9 });
        waiting.remove(2);
        waiting.remove(7);
        let answer = WaitsFor::Answer { token: 9 };
        assert_eq!([1, 2, 3].map(|id| waiting.get(id)), [Some(body(10)), None, Some(answer)]);
        assert_eq!([8, 9, 9].map(|token| waiting.take_answered(token)), [None, Some(3), None]);
        waiting.remove(1);
        assert!(waiting.is_empty());
    }
}
