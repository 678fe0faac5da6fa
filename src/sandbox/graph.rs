//! Graph's `POST /{phone number id}/messages`.

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Answer, Sandbox, State, check, fault::graph_error, json_answer};

impl Sandbox {
    pub(super) async fn messages(&self, number: &str, token: &str, body: Value) -> io::Result<Answer> {
        let reading = body["status"] == "read";
        let fault = self.lock().faults.strike(if reading { "read" } else { "messages" }, &body);
        if !fault.accept {
            fault.delay().await;
            if let Some(answer) = fault.answer().await? {
                return Ok(answer);
            }
        }
        let answer = if reading { self.take_read(token, &body) } else { self.take_message(number, token, body) };
        if fault.accept {
            fault.delay().await;
            if let Some(answer) = fault.answer().await? {
                return Ok(answer);
            }
        }
        Ok(answer)
    }

    fn take_read(&self, token: &str, body: &Value) -> Answer {
        let mut state = self.lock();
        if let Some(refusal) = state.refuse_token(token) {
            return refusal;
        }
        let id = body["message_id"].as_str().unwrap_or_default();
        for message in state.phones.values_mut().flatten().filter(|m| m["id"] == id) {
            message["state"] = json!(if body["typing_indicator"].is_object() { "typing" } else { "read" });
        }
        state.read.push(body.clone());
        drop(state);
        self.news.notify_waiters();
        json_answer(200, &json!({"success": true}))
    }

    fn take_message(&self, number: &str, token: &str, body: Value) -> Answer {
        let mut state = self.lock();
        let problem = check::refuse(&body, &|id: &str| state.media.holds(number, id));
        let refusal = state.refuse_token(token).or_else(|| problem.map(|(code, details)| json_answer(400, &graph_error(code, &details))));
        if let Some(refusal) = refusal.or_else(|| state.refuse_pace(number, &body)) {
            return refusal;
        }
        state.count += 1;
        let wamid = format!("wamid.sandbox.{:016x}.{}", state.count, uuid::Uuid::new_v4().simple());
        let to = body["to"].as_str().or(body["recipient"].as_str()).unwrap_or_default().to_owned();
        if state.settings.keep {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
            state.sent.push(json!({"at_us": u64::try_from(at).unwrap_or(0), "number": number, "token": token, "wamid": wamid, "body": body}));
            let inbox = state.phones.entry(to.clone()).or_default();
            inbox.push(json!({"id": wamid, "from": number, "body": body, "state": "accepted"}));
        }
        let receipts = state.settings.receipts.then_some(state.settings.receipt_ms);
        drop(state);
        self.news.notify_waiters();
        if let Some(pause) = receipts {
            let (sandbox, wamid, to, number) = (self.clone(), wamid.clone(), to.clone(), number.to_owned());
            let ours = body["biz_opaque_callback_data"].clone();
            tokio::spawn(async move { sandbox.receipts(&number, &to, &wamid, &ours, Duration::from_millis(pause)).await });
        }
        json_answer(
            200,
            &json!({"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}], "messages": [{"id": wamid, "message_status": "accepted"}]}),
        )
    }
}

impl State {
    pub(super) fn refuse_token(&self, token: &str) -> Option<Answer> {
        let wrong = token.is_empty() || !self.settings.token.is_empty() && token != self.settings.token && !self.accounts.handed_out(token);
        wrong.then(|| json_answer(401, &graph_error(190, "Error validating access token")))
    }

    /// The limits per number and per pair.
    fn refuse_pace(&mut self, number: &str, body: &Value) -> Option<Answer> {
        let now = Instant::now();
        if self.settings.pairs {
            let pair = format!("{number} {}", body["to"].as_str().or(body["recipient"].as_str()).unwrap_or_default());
            let (left, at) = self.pairs.get(&pair).copied().unwrap_or((45.0, now));
            let left = (left + now.duration_since(at).as_secs_f64() / 6.0).min(45.0);
            if left < 1.0 {
                return Some(json_answer(400, &graph_error(131_056, "pair rate limit hit")));
            }
            self.pairs.insert(pair, (left - 1.0, now));
        }
        if self.settings.rate > 0 {
            let recent = self.recent.entry(number.to_owned()).or_default();
            while recent.front().is_some_and(|t| now.duration_since(*t) > Duration::from_secs(1)) {
                recent.pop_front();
            }
            if recent.len() >= self.settings.rate {
                return Some(json_answer(400, &graph_error(130_429, "rate limit hit")));
            }
            recent.push_back(now);
        }
        None
    }
}
