//! (i) Receipts applied a second, three for each message, one in a webhook and ten in a webhook; against the messages that
//! are sent a second.

use std::time::{Duration, Instant};

use crate::{Setting, line, median, sending};

const MESSAGES: i64 = 8000;

pub async fn applied(runs: usize) {
    let (mut single, mut tens, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let setting = Setting::new().await;
        let organizations = setting.organizations(20).await;
        sent.push(sending::send_backlog(&setting, &organizations).await);
        single.push(drain(1).await);
        tens.push(drain(10).await);
    }
    let sent = median(sent);
    for (what, rates) in [("one in each webhook", single), ("ten in each webhook", tens)] {
        let rate = median(rates);
        line(&format!("(i) receipts applied, {what}"), &format!("{rate:.0}/s"), &format!("{sent:.0}/s messages sent"), Some(rate / sent));
    }
}

/// Messages that were sent, and in the journal three webhooks for each; then a process that applies them.
async fn drain(together: i64) -> f64 {
    let setting = Setting::new().await;
    setting.organizations(20).await;
    setting
        .execute(&format!(
            "insert into public.messages (organization_id, organization_address, contact_address, service, direction, external_id, content, status)
             select a.organization_id, a.address, (5491155550000 + n / 4)::text, 'whatsapp', 'outgoing', 'wamid.' || a.address || '.' || n,
               '{{\"version\": \"1\", \"type\": \"text\", \"kind\": \"text\", \"text\": \"hello there\"}}', jsonb_build_object('pending', now(), 'accepted', now())
             from public.organizations_addresses a, generate_series(1, {MESSAGES} / 20) n where a.service = 'whatsapp'"
        ))
        .await;
    setting.execute("analyze public.messages").await;
    for (n, state) in ["sent", "delivered", "read"].into_iter().enumerate() {
        setting
            .execute(&format!(
                "insert into bus.journal (body)
                 select convert_to(jsonb_build_object('object', 'whatsapp_business_account', 'entry', jsonb_build_array(jsonb_build_object('id', 'w', 'changes',
                   jsonb_build_array(jsonb_build_object('field', 'messages', 'value', jsonb_build_object('messaging_product', 'whatsapp',
                     'metadata', jsonb_build_object('display_phone_number', '1', 'phone_number_id', m.organization_address),
                     'statuses', jsonb_agg(jsonb_build_object('id', m.external_id, 'status', '{state}', 'timestamp', (1780000000 + {n})::text,
                       'recipient_id', m.contact_address, 'biz_opaque_callback_data', m.id))))))))::text, 'UTF8')
                 from (select *, (row_number() over (partition by organization_address order by id) - 1) / {together} as bundle from public.messages) m
                 group by m.organization_address, m.bundle"
            ))
            .await;
    }
    setting.execute("analyze bus.tasks").await;
    let before = setting.count("bus.tasks where queue = 'intake'").await;
    let process = setting.serve(Some("http,intake")).await;
    let began = Instant::now();
    let already = before - setting.count("bus.tasks where queue = 'intake'").await;
    while setting.count("bus.tasks where queue = 'intake'").await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = began.elapsed().as_secs_f64();
    drop(process);
    assert_eq!(setting.count("public.messages where status ?& '{sent,delivered,read}'").await, MESSAGES);
    (before - already) as f64 * together as f64 / elapsed
}
