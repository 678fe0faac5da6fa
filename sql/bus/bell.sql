-- The bell. A NOTIFY takes one lock for the whole database at commit, so it is rung only when nobody is awake to see the
-- row by itself. How loops fall asleep without missing anything: they clear their row, wait until every transaction
-- that may have relied on it has ended, look once more, and only then sleep.

create or replace function bus.ring(p_queue text) returns void
language plpgsql security definer
set search_path = ''
as $$
begin
  if current_setting('tidings.bell', true) = 'off' then
    return;
  end if;
  -- Outside read committed this snapshot may be old: it may show a loop awake that has gone to sleep long since.
  if current_setting('transaction_isolation') <> 'read committed'
    or not exists (select from bus.awake a where a.queue = p_queue and a.until > clock_timestamp()) then
    perform pg_notify('bus', p_queue);
  end if;
end
$$;
comment on function bus.ring(text) is
  'Wakes the loops of a queue, when none is awake anyway. Reads one tiny table, locks nothing. alter database … set tidings.bell = off silences it.';

create or replace function bus.wake(p_queue text, p_worker uuid) returns void
language plpgsql
set search_path = ''
as $$
declare
  moment timestamptz := clock_timestamp();
begin
  if not exists (select from bus.awake a where a.queue = p_queue and a.worker = p_worker and a.until > moment + interval '1 s') then
    insert into bus.awake (queue, worker, until) values (p_queue, p_worker, moment + interval '2 s')
    on conflict (queue, worker) do update set until = excluded.until;
  end if;
end
$$;
comment on function bus.wake(text, uuid) is 'Says that this loop looks by itself for the next two seconds.';

create or replace function bus.rest(p_queue text, p_worker uuid) returns void
language sql
set search_path = ''
as $$
  delete from bus.awake where queue = p_queue and (worker = p_worker or until < clock_timestamp() - interval '1 minute')
$$;
comment on function bus.rest(text, uuid) is 'Says that this loop is about to sleep. First step of falling asleep; must be committed before bus.quiet is asked.';

create or replace function bus.quiet(p_horizon text, out horizon text, out settled boolean)
language sql volatile
set search_path = ''
as $$
  select coalesce(p_horizon, pg_snapshot_xmax(pg_current_snapshot())::text),
    pg_snapshot_xmin(pg_current_snapshot()) >= coalesce(p_horizon::xid8, pg_snapshot_xmax(pg_current_snapshot()))
$$;
comment on function bus.quiet(text) is
  'Whether every transaction that may have seen the caller awake has ended. The first call, with null, sets the horizon for the following. Ask before the last look, not after.';

create or replace function bus.next_look(p_queue text, p_worker uuid) returns float8
language sql volatile
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
  -- Seconds until this loop must look again without having been rung for; null for never. All by one reading of the clock:
  -- what becomes due between two of them would be seen by neither.
  with clock as materialized (select clock_timestamp() as moment)
  select extract(epoch from least(
    -- the next task that becomes due, among them those whose lease may run out
    (select min(t.run_at) from bus.tasks t where t.queue = p_queue and t.run_at > (select moment from clock)),
    -- due tasks that nobody holds: another claim has them in its hands at this very moment
    (select (select moment from clock) + interval '20 ms'
     where exists (
       select
       -- not more than a few, or a broadcast that waits for its number would be walked through each time
       from (select * from bus.tasks d where d.queue = p_queue and d.run_at <= (select moment from clock) order by d.run_at limit 200) t
       left join bus.lanes l on l.organization_id = t.organization_id and l.lane = t.lane
       where (l.lane is null or bus.opens(l) <= (select moment from clock))
         and not exists (
           select from bus.tasks o
           where o.organization_id = t.organization_id and o.queue = t.queue and o.key = t.key
             and (o.due_at, o.id) < (t.due_at, t.id) and o.held_since is null))),
    -- a number whose pace or pause lets its next message go
    (select min(bus.opens(l)) from bus.lanes l
     where p_queue = 'dispatch' and bus.opens(l) > (select moment from clock) and bus.opens(l) < 'infinity'
       and exists (
         select from bus.tasks t
         where t.queue = p_queue and t.organization_id = l.organization_id and t.lane = l.lane and t.run_at <= (select moment from clock))),
    -- another loop that is awake: if it dies, nobody is rung for what was left to it
    (select min(a.until) + interval '10 ms' from bus.awake a
     where a.queue = p_queue and a.worker <> p_worker and a.until > (select moment from clock))
  ) - (select moment from clock))::float8
$$;
comment on function bus.next_look(text, uuid) is 'Last step of falling asleep: how many seconds the caller may sleep unless the bell rings. Null: until it rings.';

create or replace function bus.prune() returns void
language plpgsql
set search_path = ''
as $$
begin
  -- A part at a time, so that no transaction is long.
  delete from bus.journal j
  where j.id in (
    select o.id from bus.journal o
    where o.received_at < now() - (select q.hold from bus.queues q where q.queue = 'intake')
      and not exists (select from bus.parked p where p.journal_id = o.id)
      and not exists (
        select from bus.tasks t
        where t.organization_id = '00000000-0000-0000-0000-000000000000' and t.queue = 'intake' and t.key = o.id::text)
      and not exists (
        select from bus.dead d
        where d.organization_id = '00000000-0000-0000-0000-000000000000' and d.queue = 'intake' and d.subject = o.id::text)
    limit 20000);
  delete from bus.orphans o where o.created_at < now() - (select q.hold from bus.queues q where q.queue = 'intake');
  delete from storage.uploads u where u.expires_at < now();
  delete from public.operations o where o.finished_at < now() - interval '90 days';
  delete from bus.pairs where (organization_id, key) in (select p.organization_id, p.key from bus.pairs p where p.tat < now() limit 2000);
  if extract(minute from now()) = 0 then
    -- What limits are judged by; public.usage keeps the rest.
    delete from bus.spent s where s.day < now()::date - 7;
  end if;
  -- What touches tenants' rows must not keep the others from being tended.
  begin
    perform bus.adopt_orphans(o.organization_id, o.organization_address, o.external_id)
    from bus.orphans o
    join public.messages m on (m.organization_id, m.organization_address, m.external_id) = (o.organization_id, o.organization_address, o.external_id)
    where o.created_at > now() - interval '10 minutes';
  exception when others then
    raise warning 'early receipts: %', sqlerrm;
  end;
  begin
    perform storage.collect();
  exception when others then
    raise warning 'collecting files: %', sqlerrm;
  end;
  begin
    perform public.refresh_numbers();
  exception when others then
    raise warning 'refreshing numbers: %', sqlerrm;
  end;
end
$$;
comment on function bus.prune() is
  'Forgets journal entries that are done and older than the hold of the queue intake (14 days), receipts as old whose message never came, and the pace of pairs that are quiet.';

create or replace function bus.poll(p_worker uuid, p_queues text[]) returns setof text
language plpgsql
set search_path = ''
as $$
begin
  perform pg_notify('bus', 'echo ' || p_worker);
  perform bus.prune();
  return query
  select q from unnest(p_queues) q
  where exists (select from bus.tasks t where t.queue = q and t.run_at <= clock_timestamp());
end
$$;
comment on function bus.poll(uuid, text[]) is
  'The safety net, once a minute: which queues have due work, and a bell to ourselves that must come back, or the listening connection is dead. Prunes by the way.';
