//! A template from a brief: a model writes the components, within Meta's rules, for a person to submit.

use serde_json::{Value, json};

use super::{Job, Manage, Outcome};
use crate::{
    agent::{self, Prompt, Role, Turn, context::Named, endpoint},
    whatsapp::Failure,
};

const RULES: &str = "You write WhatsApp message templates. Answer with one JSON array of components and nothing else. \
Components: {\"type\":\"HEADER\",\"format\":\"TEXT\",\"text\":…} (optional, at most 60 characters, at most one variable), \
{\"type\":\"BODY\",\"text\":…,\"example\":{\"body_text\":[[…]]}} (required, at most 1024 characters; the example has one value for each variable), \
{\"type\":\"FOOTER\",\"text\":…} (optional, at most 60 characters, no variables), \
{\"type\":\"BUTTONS\",\"buttons\":[…]} (optional; {\"type\":\"QUICK_REPLY\",\"text\":…} or {\"type\":\"URL\",\"text\":…,\"url\":…}, texts of at most 25 characters). \
Variables are {{1}}, {{2}} … in this order; a text neither begins nor ends with a variable, and has at least three words for each. \
Leave example out where there are no variables. Write in the language asked for.";

impl Manage {
    pub(super) async fn draft_template(&self, job: &Job) -> Outcome {
        let row = &job.template;
        let brief = row["brief"].as_str().ok_or_else(|| Failure::refused("input", "templates.brief is missing"))?;
        let mut told = format!(
            "Category: {}. Language: {}. What the message is for: {brief}",
            row["category"].as_str().unwrap_or_default(),
            row["language"].as_str().unwrap_or_default()
        );
        let mut problem = String::new();
        for _ in 0..3 {
            let answer = self.complete(job, told).await?;
            match components(&answer) {
                Ok(components) => return Ok(json!({"components": components, "status": "draft"})),
                Err(wrong) => problem = wrong,
            }
            told = format!("{brief}\n\nThis draft breaks a rule ({problem}); correct it:\n{answer}");
        }
        Err(Failure::refused("draft", format!("the model's drafts break the rules: {problem}")))
    }

    /// One answer of the organization's model.
    async fn complete(&self, job: &Job, told: String) -> Result<String, Failure> {
        let agent: Named = serde_json::from_value(job.agent.clone())
            .map_err(|_| Failure::refused("draft", "the organization has no AI agent whose model could write"))?;
        let own = job.agent_credential.as_ref().map(|c| self.tokens.own(Some(c))).transpose().map_err(|e| Failure::refused("settings", e))?;
        let endpoint = endpoint(&agent, own, &self.keys).map_err(|e| Failure::refused("draft", e))?;
        let turns = vec![Turn::said(Role::User, told)];
        let prompt = Prompt { model: endpoint.model.clone(), system: RULES.to_owned(), turns, ..Prompt::default() };
        match self.models.ask(&endpoint, prompt).await {
            Ok(reply) => Ok(reply.text),
            Err(agent::Failure::Later(_, text)) => Err(Failure::unreachable(text)),
            Err(agent::Failure::Hopeless(text) | agent::Failure::TooLong(text)) => Err(Failure::refused("draft", text)),
        }
    }
}

/// The components in an answer, if they keep the rules.
fn components(answer: &str) -> Result<Value, String> {
    let (from, to) = (answer.find('['), answer.rfind(']'));
    let (Some(from), Some(to)) = (from, to) else { return Err("no JSON array in it".to_owned()) };
    let components: Value = serde_json::from_str(answer.get(from..=to).unwrap_or_default()).map_err(|e| format!("no JSON: {e}"))?;
    let list = components.as_array().ok_or("no JSON array in it")?;
    let of = |kind: &str| list.iter().find(|c| c["type"] == kind);
    let body = of("BODY").and_then(|b| b["text"].as_str()).ok_or("no BODY with a text")?;
    let limit = |what: &str, text: Option<&str>, most: usize| match text.map(|t| t.chars().count()) {
        Some(n) if n > most => Err(format!("{what} has {n} characters, at most {most}")),
        _ => Ok(()),
    };
    limit("BODY", Some(body), 1024)?;
    limit("HEADER", of("HEADER").and_then(|h| h["text"].as_str()), 60)?;
    limit("FOOTER", of("FOOTER").and_then(|f| f["text"].as_str()), 60)?;
    for button in of("BUTTONS").and_then(|b| b["buttons"].as_array()).into_iter().flatten() {
        limit("a button", button["text"].as_str(), 25)?;
    }
    if body.trim().starts_with("{{") || body.trim().ends_with("}}") {
        return Err("BODY begins or ends with a variable".to_owned());
    }
    let variables = body.matches("{{").count();
    let examples = of("BODY").and_then(|b| b["example"]["body_text"][0].as_array()).map_or(0, Vec::len);
    if variables != examples {
        return Err(format!("BODY has {variables} variables and {examples} examples"));
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_keep_the_rules() {
        let good = "Here it is:\n[{\"type\":\"BODY\",\"text\":\"Hello {{1}}, your order is ready.\",\"example\":{\"body_text\":[[\"Ana\"]]}}]";
        assert!(components(good).is_ok());
        assert!(components("sorry").is_err());
        assert!(
            components("[{\"type\":\"BODY\",\"text\":\"{{1}} hello\",\"example\":{\"body_text\":[[\"Ana\"]]}}]")
                .expect_err("refused")
                .contains("begins")
        );
        assert!(components("[{\"type\":\"BODY\",\"text\":\"Hello {{1}}, hi\"}]").expect_err("refused").contains("examples"));
    }
}
