//! (j) A thousand templates to a thousand people from one statement, over a number that may send 80 a second.

use std::time::{Duration, Instant};

use crate::{Setting, line, median};

const ROWS: usize = 1000;
const RATE: f64 = 80.0;

pub async fn templates(runs: usize) {
    let (mut rates, mut errors) = (Vec::new(), 0);
    for _ in 0..runs {
        let setting = Setting::new().await;
        setting.organizations(1).await;
        setting.execute("update bus.lanes set rate = 80").await;
        setting.sandbox.set(|s| {
            s.rate = RATE as usize;
            s.pairs = true;
            s.keep = false;
        });
        let _process = setting.serve(None).await;
        setting
            .execute(&format!(
                "insert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
                 select a.organization_id, a.address, (5491155550000 + n)::text, 'whatsapp', 'outgoing',
                   '{{\"version\": \"1\", \"type\": \"data\", \"kind\": \"template\", \"data\": {{\"name\": \"sale\", \"language\": {{\"code\": \"en\"}},
                     \"components\": [{{\"type\": \"body\", \"parameters\": [{{\"type\": \"text\", \"text\": \"Ana\"}}]}}]}}}}'
                 from public.organizations_addresses a, generate_series(1, {ROWS}) n where a.service = 'whatsapp'"
            ))
            .await;
        let reached = |n: u64| {
            let sandbox = setting.sandbox.clone();
            async move {
                while sandbox.count() < n {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Instant::now()
            }
        };
        let first = reached(1).await;
        let last = reached(ROWS as u64).await;
        rates.push((ROWS - 1) as f64 / (last - first).as_secs_f64());
        tokio::time::sleep(Duration::from_secs(1)).await;
        errors += setting.count("public.messages where status ? 'errors' or not status ? 'accepted'").await;
    }
    let rate = median(rates);
    line(
        &format!("(j) {ROWS} templates from one insert, {errors} rate-limit errors"),
        &format!("{rate:.1}/s from the first to the last"),
        &format!("{RATE:.0}/s permitted"),
        Some(rate / RATE),
    );
}
