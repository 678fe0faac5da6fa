//! A chat-completions model that repeats what it was told.

use std::{io, time::Duration};

use serde_json::{Value, json};

use super::{Answer, Sandbox, json_answer};

impl Sandbox {
    pub(super) async fn complete(&self, body: Value) -> io::Result<Answer> {
        let (fault, think) = {
            let mut state = self.lock();
            if state.settings.keep {
                state.asked.push(body.clone());
            }
            (state.faults.strike("model", &body), state.settings.think_ms)
        };
        tokio::time::sleep(Duration::from_millis(think)).await;
        fault.delay().await;
        if let Some(answer) = fault.answer().await? {
            return Ok(answer);
        }
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let answered = messages.iter().rposition(|m| m["role"] == "assistant").map_or(0, |at| at + 1);
        let said: Vec<&str> = messages[answered..].iter().filter(|m| m["role"] == "user").filter_map(|m| m["content"].as_str()).collect();
        let text = format!("You said: {}", said.join(" / "));
        Ok(json_answer(
            200,
            &json!({"id": "chatcmpl-sandbox", "object": "chat.completion", "model": body["model"],
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
        ))
    }
}
