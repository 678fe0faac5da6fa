-- Finishing, retrying, giving up, giving back. Everything names the attempt it belongs to and does nothing otherwise.

create or replace function bus.backoff(p_queue text, p_attempt int) returns interval
language sql volatile
set search_path = ''
as $$
  select greatest(interval '50 ms', random() * least(q.backoff_cap, q.backoff * power(2, least(p_attempt, 30) - 1)))
  from bus.queues q where q.queue = p_queue
$$;
comment on function bus.backoff(text, int) is 'How long to wait after a failed attempt: exponential with full jitter.';

create or replace function bus.note(p_errors jsonb, p_error text) returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_agg(e order by n) from (
    select e, n from jsonb_array_elements(
      coalesce(p_errors, '[]') || jsonb_build_array(jsonb_build_object('at', now(), 'error', left(p_error, 2000)))) with ordinality x (e, n)
    order by n desc limit 10) last
$$;
comment on function bus.note(jsonb, text) is 'The last ten errors of a task, with their times.';

create or replace function bus.finish(p_results jsonb) returns int
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  done int;
  moved int := 0;
begin
  delete from bus.tasks t
  using jsonb_to_recordset(p_results) as r (queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text)
  where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt)
    and coalesce(r.outcome, 'done') = 'done'
    -- asked for again while it ran: it runs again
    and (not t.single or t.version = r.version);
  get diagnostics done = row_count;
  if done = jsonb_array_length(p_results) then
    return done;
  end if;

  update bus.tasks t set worker = null, run_at = greatest(t.due_at, clock_timestamp())
  from jsonb_to_recordset(p_results) as r (queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text)
  where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt)
    and coalesce(r.outcome, 'done') = 'done' and t.single and t.version <> r.version;
  get diagnostics moved = row_count;
  done := done + moved;

  update bus.tasks t set
    worker = null,
    held_since = null,
    errors = bus.note(t.errors, coalesce(r.error, 'no reason given')),
    -- Who has to wait for long goes behind those that came later.
    due_at = case when r.after >= 60 then clock_timestamp() + make_interval(secs => r.after) else t.due_at end,
    run_at = clock_timestamp() + coalesce(make_interval(secs => r.after), bus.backoff(t.queue, t.attempt))
  from jsonb_to_recordset(p_results) as r (queue text, organization_id uuid, key text, id bigint, attempt int, outcome text, after float8, error text)
  where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt)
    and r.outcome = 'retry'
    and t.attempt < (select q.max_attempts from bus.queues q where q.queue = t.queue);
  get diagnostics moved = row_count;
  done := done + moved;

  -- The last attempt, or hopeless: out of the queue, with its errors.
  moved := bus.bury(array(
    select t.id from bus.tasks t
    join jsonb_to_recordset(p_results) as r (queue text, organization_id uuid, key text, id bigint, attempt int, outcome text, error text)
      on (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt)
    where r.outcome in ('retry', 'dead') and t.worker is not null), p_results);
  return done + moved;
end
$$;
comment on function bus.finish(jsonb) is
  'Settles claimed tasks: [{queue, organization_id, key, id, attempt, version, outcome, after, error}], outcome done (default), retry (after seconds, or by the queue''s schedule) or dead. Returns how many were still the caller''s.';

create or replace function bus.bury(p_ids bigint[], p_results jsonb) returns int
language sql
set search_path = ''
as $$
  with gone as (
    delete from bus.tasks t
    using jsonb_to_recordset(p_results) as r (queue text, organization_id uuid, key text, id bigint, error text)
    where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id) and t.id = any (p_ids)
    returning t.*, r.error
  ), buried as (
    insert into bus.dead (organization_id, queue, id, key, lane, subject, priority, single, due_at, attempt, errors, created_at)
    select g.organization_id, g.queue, g.id, g.key, g.lane, g.subject, g.priority, g.single, g.due_at, g.attempt,
      bus.note(g.errors, coalesce(g.error, 'no reason given')), g.created_at
    from gone g
    on conflict do nothing
    returning 1
  )
  select count(*)::int from buried
$$;
comment on function bus.bury(bigint[], jsonb) is 'Moves tasks to bus.dead with their errors.';

create or replace function bus.renew(p_queue text, p_worker uuid, p_tasks jsonb)
returns table (id bigint, attempt int, version int)
language plpgsql
set search_path = ''
as $$
begin
  return query
  update bus.tasks t set run_at = clock_timestamp() + q.lease
  from bus.queues q, jsonb_to_recordset(p_tasks) as r (organization_id uuid, key text, id bigint, attempt int)
  where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, p_queue, r.key, r.id, r.attempt)
    and q.queue = p_queue and t.worker = p_worker
  returning t.id, t.attempt, t.version;
end
$$;
comment on function bus.renew(text, uuid, jsonb) is
  'The heartbeat: extends the leases of running tasks. Who is not in the answer has lost its task; whose version is higher is outdated.';

create or replace function bus.outdated(p_queue text, p_tasks jsonb) returns setof bigint
language plpgsql stable
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
begin
  return query
  select r.id from jsonb_to_recordset(p_tasks) as r (organization_id uuid, key text, id bigint, version int)
  join bus.tasks t on (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, p_queue, r.key, r.id)
  where t.version <> r.version;
end
$$;
comment on function bus.outdated(text, jsonb) is 'Which of these running tasks were asked for again since they were claimed.';

create or replace function bus.release(p_queue text, p_worker uuid, p_keep bigint[]) returns int
language plpgsql
set search_path = ''
as $$
declare
  n int;
begin
  update bus.tasks t set worker = null, run_at = greatest(t.due_at, clock_timestamp())
  where t.queue = p_queue and t.worker = p_worker and t.id <> all (p_keep) and t.held_since is null;
  get diagnostics n = row_count;
  if n > 0 then
    perform bus.ring(p_queue);
  end if;
  return n;
end
$$;
comment on function bus.release(text, uuid, bigint[]) is
  'Gives back what the worker claimed and never began: at shutdown, and after a lost connection swallowed the answer to a claim. p_keep: what it has in hand.';
