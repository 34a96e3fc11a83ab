//! Finds where in a YAML text a field stands, so that an error in its contents can name the line.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The places of all fields of a YAML text.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, String>);

impl Places {
    /// The places in `yaml`; none if it does not parse.
    pub fn of(yaml: &str) -> Self {
        let mut places = Self::default();
        if let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(yaml) {
            places.walk(String::new(), &root);
        }
        places
    }

    fn walk(&mut self, path: String, node: &Spanned<Node>) {
        let at = node.referenced;
        self.0.insert(path.clone(), format!("{}:{}", at.line(), at.column()));
        match &node.value {
            Node::Map(fields) => {
                for (name, child) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.walk(format!("{path}{dot}{name}"), child);
                }
            }
            Node::List(items) => {
                for (index, child) in items.iter().enumerate() {
                    self.walk(format!("{path}[{index}]"), child);
                }
            }
            Node::Leaf => {}
        }
    }

    /// The innermost field whose value stands at `line:column`.
    pub fn field_at(&self, place: &str) -> Option<&str> {
        let at_place = self.0.iter().filter(|(field, at)| at.as_str() == place && !field.is_empty());
        at_place.map(|(field, _)| field.as_str()).max_by_key(|field| field.len())
    }

    /// The `line:column` of a field such as `surfaces[2].rules[0].path`, or of the nearest thing
    /// around it that the text has.
    pub fn find(&self, field: &str) -> Option<String> {
        let mut path = field;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(place.clone());
            }
            let cut = path.rfind(['.', '['])?;
            path = path.get(..cut)?;
        }
    }
}

enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    List(Vec<Spanned<Node>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Map(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_and_what_is_around_them() {
        let yaml = "windows:\n  grace: 1h\nsurfaces:\n  - name: a\n    rules:\n      - path: /x\n        effect: read\n";
        let places = Places::of(yaml);
        assert_eq!(places.find("windows.grace").as_deref(), Some("2:10"));
        assert_eq!(places.find("surfaces[0].rules[0].path").as_deref(), Some("6:15"));
        assert_eq!(places.find("surfaces[0].hosts[3]").as_deref(), places.find("surfaces[0]").as_deref());
        assert_eq!(places.find("surfaces[0].name").as_deref(), Some("4:11"));
        assert_eq!(places.find("tokens[0].name"), None);
    }
}
