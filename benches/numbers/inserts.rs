//! (g) Messages inserted a second while the loops run, with the bell and without, on a server whose commits take 2 ms.

use std::time::Duration;

use crate::{Setting, line, median};

const SECONDS: usize = 6;

pub async fn with_and_without_bell(runs: usize) {
    let setting = Setting::new().await;
    let organization = setting.organizations(1).await[0];
    let name = setting.url.rsplit_once('/').unwrap().1.to_owned();
    let superuser = tidings::db::Db::new(&setting.superuser, 1).unwrap();
    let admin = superuser.get().await.unwrap();
    admin.batch_execute("alter system set commit_delay = 2000").await.unwrap();
    admin.batch_execute("alter system set commit_siblings = 0").await.unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
    // Incoming rows of a conversation that nobody answers: the agent loop claims and finishes a task for them.
    let script = format!(
        "\\set c random(1, 5000)\ninsert into public.messages (organization_id, organization_address, contact_address, service, direction, content)
        values ('{organization}', 'n1', (:c)::text, 'whatsapp', 'incoming', '{{\"version\": \"1\", \"type\": \"text\", \"kind\": \"text\", \"text\": \"hello\"}}');\n"
    );
    setting.pgbench(&script, 16, SECONDS).await;
    for clients in [1, 16, 64] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            for bell in ["off", "on"] {
                admin.batch_execute(&format!("alter database {name} set tidings.bell = '{bell}'")).await.unwrap();
                let _process = setting.serve(None).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                // Without the bell the loops must be woken all the same, or they would do no work while we measure.
                let ring = async {
                    if bell == "off" {
                        loop {
                            setting.execute("select pg_notify('bus', 'agent')").await;
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                let rate = tokio::select! { rate = setting.pgbench(&script, clients, SECONDS) => rate, () = ring => unreachable!() };
                if bell == "on" {
                    with.push(rate)
                } else {
                    without.push(rate)
                }
                while setting.count("bus.tasks where queue = 'agent' and run_at <= now()").await > 0 {
                    setting.execute("select pg_notify('bus', 'agent')").await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let (with, without) = (median(with), median(without));
        line(
            &format!("(g) messages inserted with the bell, {clients} clients"),
            &format!("{with:.0}/s"),
            &format!("{without:.0}/s without"),
            Some(with / without),
        );
    }
    admin.batch_execute("alter system reset commit_delay").await.unwrap();
    admin.batch_execute("alter system reset commit_siblings").await.unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
}
