//! What a model answers with `respond`, and what it learns when that cannot be sent.

use super::*;

/// The sorts of messages that `respond` offers in a request.
fn sorts(asked: &Value) -> Vec<&str> {
    let respond = asked["tools"].as_array().unwrap().iter().find(|t| t["function"]["name"] == "respond").unwrap();
    let sorts = respond["function"]["parameters"]["properties"]["messages"]["items"]["anyOf"].as_array().unwrap();
    sorts.iter().map(|s| s["properties"]["type"]["enum"][0].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_of_several_sorts_arrives_in_its_order() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    world.sandbox.script(vec![respond(json!([
        {"type": "reaction", "emoji": "👍"},
        {"type": "buttons", "text": "Shall we?", "buttons": [{"title": "Yes"}, {"title": "No", "id": "never"}]},
        {"type": "list", "text": "Which size?", "button": "Sizes", "rows": [{"title": "Small"}, {"title": "Large", "description": "our largest"}]},
        {"type": "text", "text": "Take your **time**."},
    ]))]);
    tell(&world, "I want one").await;
    let said = world.messages().await[0]["external_id"].clone();
    let out = sent(&world);
    assert_eq!(out.iter().map(|s| s["type"].clone()).collect::<Vec<_>>(), ["reaction", "interactive", "interactive", "text"]);
    assert_eq!(out[0]["reaction"], json!({"message_id": said, "emoji": "👍"}));
    let replies: Vec<Value> = out[1]["interactive"]["action"]["buttons"].as_array().unwrap().iter().map(|b| b["reply"].clone()).collect();
    assert_eq!(replies, [json!({"id": "yes", "title": "Yes"}), json!({"id": "never", "title": "No"})]);
    let rows = &out[2]["interactive"]["action"]["sections"][0]["rows"];
    assert_eq!((&rows[0]["title"], &rows[1]["description"]), (&json!("Small"), &json!("our largest")));
    assert_eq!(out[3]["text"]["body"], "Take your *time*.");
    assert_eq!(sorts(&world.sandbox.asked()[0]), ["text", "file", "reaction", "buttons", "list"]);
    assert_eq!(world.sandbox.asked().len(), 1, "the answer ends the run");
}

#[tokio::test]
async fn a_file_elsewhere_is_sent_by_its_link() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    let link = "https://files.example.com/offer.pdf";
    world.sandbox.script(vec![respond(json!([{"type": "file", "uri": link, "name": "offer.pdf"}])), Turn::says("It could not be sent.")]);
    tell(&world, "send me the offer").await;
    let out = sent(&world);
    assert_eq!((out.len(), &out[0]["document"]["link"]), (1, &json!(link)), "{:?}", answers(&world).await);
}

#[tokio::test]
async fn when_the_window_has_closed_only_templates_are_offered_and_taken() {
    let world = World::new().await;
    let organization = equipped(&world, json!([function("calculator")])).await;
    world.execute("insert into public.policies (organization_id, tool, decision) values ($1, 'calculator', 'ask')", &[&organization]).await;
    let template = "insert into public.templates (organization_id, organization_address, waba_id, name, language, category, components, status)
        values ($1, '111', 'w', 'hello_again', 'en', 'UTILITY', $2, 'APPROVED')";
    world.execute(template, &[&organization, &json!([{"type": "BODY", "text": "Hello {{1}}, here is your answer."}])]).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![
        Turn::calls([("calculator", json!({"expression": "2 + 2"}))]),
        Turn::says("It is 4."),
        respond(json!([{"type": "template", "name": "hello_again", "language": "en", "parameters": ["Ana"]}])),
    ]);
    world.sandbox.say(&json!({"from": "549", "number": NUMBER, "text": "how much?"})).await;
    world.until("a person is asked", "select count(*) = 1 from public.approvals where state = 'pending'").await;
    world.execute("update bus.windows set opened_at = now() - interval '2 days'", &[]).await;
    world.execute("update public.approvals set state = 'granted'", &[]).await;
    world.idle().await;
    let asked = world.sandbox.asked();
    assert_eq!((asked.len(), sorts(&asked[0]), sorts(&asked[1])), (3, vec!["text", "file", "reaction", "buttons", "list"], vec!["template"]));
    assert!(known(&asked[0])["window"].is_null() && known(&asked[1])["window"].as_str().unwrap().starts_with("closed"));
    let last = asked[2]["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    assert!(last.starts_with("<not-sent>") && last.contains("24-hour window") && last.contains("It is 4."), "{last}");
    let out = sent(&world);
    assert_eq!((out.len(), &out[0]["template"]["name"]), (1, &json!("hello_again")));
    assert_eq!(out[0]["template"]["components"][0]["parameters"], json!([{"type": "text", "text": "Ana"}]));
    assert_eq!(answers(&world).await.len(), 1, "the text was not even stored as something to send");
}

#[tokio::test]
async fn what_exceeds_a_limit_is_corrected_before_the_customer_sees_any_of_it() {
    let world = World::new().await;
    world.furnished().await;
    let _process = world.serve().await;
    let buttons = |title: &str| json!({"type": "buttons", "text": "Shall we?", "buttons": [{"title": title}]});
    world.sandbox.script(vec![
        respond(json!([{"type": "text", "text": "Hello"}, buttons("This title has thirty letters!")])),
        respond(json!([buttons("Yes")])),
    ]);
    tell(&world, "shall we?").await;
    let error = "messages[1].buttons[0].title has 30 characters; at most 20";
    assert_eq!(results(&world).await, [("respond".to_owned(), json!(error), true)]);
    let asked = world.sandbox.asked();
    assert_eq!((asked.len(), told(&asked[1])), (2, vec![error]));
    let out = sent(&world);
    assert_eq!((out.len(), &out[0]["interactive"]["action"]["buttons"][0]["reply"]["title"]), (1, &json!("Yes")));
}

#[tokio::test]
async fn w36_an_answer_beside_calls_is_sent_and_the_calls_are_made() {
    let world = World::new().await;
    equipped(&world, json!([function("calculator")])).await;
    let _process = world.serve().await;
    world.sandbox.script(vec![Turn::calls([
        ("calculator", json!({"expression": "2 + 2"})),
        ("respond", json!({"messages": [{"type": "text", "text": "One moment"}]})),
    ])]);
    tell(&world, "how much?").await;
    assert_eq!(answers(&world).await.iter().map(|a| a["text"].clone()).collect::<Vec<_>>(), ["One moment", "The tools said: {\"result\":\"4\"}"]);
    let asked = world.sandbox.asked();
    let roles: Vec<&str> = asked[1]["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "assistant", "tool"]);
    assert_eq!((&asked[1]["messages"][2]["content"], told(&asked[1])), (&json!("One moment"), vec!["{\"result\":\"4\"}"]));
    assert_eq!(sent(&world).len(), 2);
}
