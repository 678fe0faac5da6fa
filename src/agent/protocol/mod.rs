//! Wire dialects of model providers: one file each, request and response as pure functions. Nothing here knows how
//! bytes travel.

use serde_json::{Value, json};

use super::{Call, Failure, Prompt, Reply};

pub mod a2a;
mod chat_completions;
mod failure;
mod generate_content;
#[cfg(test)]
mod golden;
mod messages;
mod responses;

/// How a provider is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's Chat Completions, which most providers and servers speak.
    ChatCompletions,
    /// OpenAI's Responses, without anything stored there.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Google's generateContent.
    GenerateContent,
}

impl Protocol {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::ChatCompletions, Self::Responses, Self::Messages, Self::GenerateContent];

    /// As agents name it, and as [`Reply::state`] is marked.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::GenerateContent => "generate_content",
        }
    }

    /// By its name; Google's own spelling of its method is one too.
    pub fn parse(name: &str) -> Option<Self> {
        let name = if name == "generateContent" { "generate_content" } else { name };
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Where a request goes. `base` has no trailing slash.
    pub fn url(self, base: &str, model: &str) -> String {
        match self {
            Self::ChatCompletions => chat_completions::url(base, model),
            Self::Responses => responses::url(base, model),
            Self::Messages => messages::url(base, model),
            Self::GenerateContent => generate_content::url(base, model),
        }
    }

    /// Headers of a request, beside its content type: name and value.
    pub fn headers(self, key: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::ChatCompletions => chat_completions::headers(key),
            Self::Responses => responses::headers(key),
            Self::Messages => messages::headers(key),
            Self::GenerateContent => generate_content::headers(key),
        }
    }

    /// The body of a request.
    pub fn request(self, prompt: &Prompt) -> Value {
        match self {
            Self::ChatCompletions => chat_completions::request(prompt),
            Self::Responses => responses::request(prompt),
            Self::Messages => messages::request(prompt),
            Self::GenerateContent => generate_content::request(prompt),
        }
    }

    /// What came back: HTTP's status, the seconds of `Retry-After` where they were given, and the whole body.
    pub fn response(self, status: u16, retry_after: Option<f64>, body: &[u8]) -> Result<Reply, Failure> {
        match self {
            Self::ChatCompletions => chat_completions::response(status, retry_after, body),
            Self::Responses => responses::response(status, retry_after, body),
            Self::Messages => messages::response(status, retry_after, body),
            Self::GenerateContent => generate_content::response(status, retry_after, body),
        }
    }
}

/// The header of OpenAI's protocols. Servers of one's own may need no key, and some refuse an empty one.
fn bearer(key: &str) -> Vec<(&'static str, String)> {
    if key.is_empty() { Vec::new() } else { vec![("authorization", format!("Bearer {key}"))] }
}

/// A call as OpenAI's protocols have it. `index` counts the calls of the reply. Small servers give calls no id, and some
/// give arguments as an object instead of a string that holds one.
fn call(id: &Value, name: &str, arguments: &Value, index: usize) -> Call {
    let id = match id.as_str() {
        Some(id) if !id.is_empty() => id.to_owned(),
        // OpenAI takes ids of up to 40 characters.
        _ => format!("call_{index}_{}", uuid::Uuid::new_v4().simple()),
    };
    let arguments = match arguments {
        Value::String(raw) => Call::parse(raw),
        Value::Null => json!({}),
        Value::Object(_) => arguments.clone(),
        other => Value::String(other.to_string()),
    };
    Call { id, name: name.to_owned(), arguments }
}

/// A file's type without its parameters, in lower case: `audio/ogg` of `audio/ogg; codecs=opus`.
fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A file as a `data:` URL. `mime_type` is an essence, `data` is base64.
fn data_url(mime_type: &str, data: &str) -> String {
    format!("data:{mime_type};base64,{data}")
}

/// The name of a PDF: OpenAI refuses one without.
fn pdf_name(name: Option<&str>) -> &str {
    name.unwrap_or("document.pdf")
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn names() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::parse(protocol.name()), Some(protocol));
        }
        assert_eq!(Protocol::parse("generateContent"), Some(Protocol::GenerateContent));
        assert_eq!(Protocol::parse("assistants"), None);
    }

    #[test]
    fn addresses_and_keys() {
        assert_eq!(Protocol::ChatCompletions.url("https://h/v1", "m"), "https://h/v1/chat/completions");
        assert_eq!(Protocol::Responses.url("https://h/v1", "m"), "https://h/v1/responses");
        assert_eq!(Protocol::Responses.headers("k"), [("authorization", "Bearer k".to_owned())]);
        assert!(Protocol::ChatCompletions.headers("").is_empty());
    }
}
