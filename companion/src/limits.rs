//! How long the texts that people hand in may be, and what they may be made of.

use quiesce_policy::snapshot::Scope;

/// Characters of a window's reason.
pub const MAX_REASON: usize = 500;
/// Characters of a rollback plan, and of what is posted about a window.
pub const MAX_WORDS: usize = 1000;
/// Characters of a contact.
pub const MAX_CONTACT: usize = 200;
/// Characters of a name: a token's, a pass's subject.
pub const MAX_NAME: usize = 100;
/// Hosts, label keys, and values of one key that a scope may name.
pub const MAX_SCOPE: usize = 100;
/// Characters of one host, label key or label value.
pub const MAX_SCOPE_TEXT: usize = 253;

/// Checks a text that ends up in headers, logs and on pages: it must not be empty, nor longer than
/// `most` characters, nor hold control characters.
pub fn text(text: &str, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        Err("is empty".to_owned())
    } else if length > most {
        Err(format!("has {length} characters, {most} at most"))
    } else if text.chars().any(char::is_control) {
        Err("holds a control character, such as a line break".to_owned())
    } else {
        Ok(())
    }
}

/// Checks what a scope may name; tells the field and what is wrong with it.
pub fn scope(scope: &Scope) -> Result<(), (String, String)> {
    let size = |place: &str, size: usize| {
        if size > MAX_SCOPE {
            Err((place.to_owned(), format!("names {size}, {MAX_SCOPE} at most")))
        } else {
            Ok(())
        }
    };
    size("scope.labels", scope.labels.len())?;
    size("scope.hosts", scope.hosts.len())?;
    for (key, values) in &scope.labels {
        let place = format!("scope.labels.{key}");
        text(key, MAX_SCOPE_TEXT)
            .map_err(|message| ("scope.labels".to_owned(), format!("a key {message}")))?;
        size(&place, values.len())?;
        if values.is_empty() {
            return Err((place, "names no value, so that no enforcer would be concerned".to_owned()));
        }
        for value in values {
            text(value, MAX_SCOPE_TEXT).map_err(|message| (place.clone(), format!("a value {message}")))?;
        }
    }
    for (index, host) in scope.hosts.iter().enumerate() {
        host_pattern(host).map_err(|message| (format!("scope.hosts[{index}]"), message))?;
    }
    Ok(())
}

fn host_pattern(host: &str) -> Result<(), String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if name.len() <= MAX_SCOPE_TEXT && name.split('.').all(label) {
        Ok(())
    } else {
        Err(format!(
            "`{host}` is no host: write it like api.example.com or *.example.com, in lower case, without a port"
        ))
    }
}
