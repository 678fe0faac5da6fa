-- What an operator sees.

create or replace function bus.status() returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'queues', (
      select jsonb_object_agg(q.queue, jsonb_build_object(
        'depth', coalesce(t.depth, 0), 'due', coalesce(t.due, 0), 'running', coalesce(t.running, 0), 'held', coalesce(t.held, 0),
        'retrying', coalesce(t.retrying, 0),
        'oldest_seconds', coalesce(round(extract(epoch from t.oldest)::numeric, 3), 0), 'dead', coalesce(d.dead, 0),
        'last_error', d.last_error))
      from bus.queues q
      left join (
        select queue, count(*) as depth, count(*) filter (where run_at <= clock_timestamp()) as due,
          count(*) filter (where worker is not null and held_since is null and run_at > clock_timestamp()) as running,
          count(*) filter (where held_since is not null) as held,
          count(*) filter (where errors is not null) as retrying,
          clock_timestamp() - min(due_at) filter (where run_at <= clock_timestamp()) as oldest
        from bus.tasks group by queue) t using (queue)
      left join (
        select queue, count(*) as dead, (array_agg(errors -> -1 ->> 'error' order by died_at desc))[1] as last_error
        from bus.dead group by queue) d using (queue)),
    'journal', jsonb_build_object(
      'pending', (select count(*) from bus.tasks where queue = 'intake'),
      'parked', (select count(*) from bus.parked),
      'reasons', (select coalesce(jsonb_object_agg(reason, n), '{}') from (select reason, count(*) as n from bus.parked group by reason) r),
      'early_receipts', (select count(*) from bus.orphans)),
    'numbers', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'phone_number_id', a.address, 'phone_number', a.extra ->> 'phone_number', 'organization_id', a.organization_id,
        'service', a.service,
        'state', case when a.status <> 'connected' then a.status
                      when l.paused_reason is not null then 'paused'
                      when l.strikes > 0 then 'waiting'
                      else 'connected' end,
        'paused_reason', l.paused_reason, 'resume_at', case when l.resume_at < 'infinity' and l.resume_at > now() then l.resume_at end,
        'rate', l.rate) order by a.organization_id, a.address), '[]')
      from public.organizations_addresses a
      left join bus.lanes l on l.organization_id = a.organization_id and l.lane = a.address
      where a.service <> 'local'),
    'awake', (select coalesce(jsonb_object_agg(queue, n), '{}') from (
      select queue, count(*) as n from bus.awake where until > clock_timestamp() group by queue) a))
$$;
comment on function bus.status() is 'Depth, age and failures of every queue, the journal, and the health of every number. What tidings status and /metrics show.';

create or replace view bus.stuck as
  select t.queue, t.organization_id, t.id, t.key, t.subject, t.attempt, t.created_at, t.run_at,
    case
      when t.held_since is not null then 'held: its outcome is unknown, a receipt may settle it'
      when t.run_at > clock_timestamp() and t.worker is not null then 'running'
      when t.run_at > clock_timestamp() and t.queue = 'agent' and t.waits_for is not null then case t.waits_for
        when 'media' then 'waits for a file to be fetched or read' when 'approval' then 'waits for a person''s approval' else 'waits for another agent''s task' end
      when t.run_at > clock_timestamp() and t.errors is not null then 'waits to be retried'
      when t.run_at > clock_timestamp() then 'not due yet'
      when l.resume_at > clock_timestamp() then 'its number is stopped: ' || coalesce(l.paused_reason, 'it could not be reached')
      when bus.opens(l) > clock_timestamp() then 'its number is at its rate'
      when exists (select from bus.tasks o where o.organization_id = t.organization_id and o.queue = t.queue and o.key = t.key
                     and (o.due_at, o.id) < (t.due_at, t.id) and o.held_since is null) then 'waits for an older one of its conversation'
      else 'due: no worker has taken it yet'
    end as why,
    t.errors -> -1 ->> 'error' as last_error
  from bus.tasks t
  left join bus.lanes l on l.organization_id = t.organization_id and l.lane = t.lane;
comment on view bus.stuck is 'Every task with the reason why it is not done yet: select * from bus.stuck where subject = ''…''.';
