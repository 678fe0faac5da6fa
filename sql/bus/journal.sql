-- The journal: from stored bodies to tasks, and back again for what was parked.

create or replace function bus.after_insert_on_journal() returns trigger
language plpgsql security definer
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
begin
  insert into bus.tasks (queue, organization_id, key, subject)
  select 'intake', '00000000-0000-0000-0000-000000000000', n.id::text, n.id::text from inserted n;
  perform bus.ring('intake');
  return null;
end
$$;

create or replace trigger request_intake after insert on bus.journal
  referencing new table as inserted
  for each statement execute function bus.after_insert_on_journal();

create or replace function bus.claim_intake(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns table (queue text, organization_id uuid, key text, id bigint, lane text, attempt int, version int, payload bytea, source text)
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('intake', p_worker, p_limit, p_after, p_awake) c);
  -- As many bodies as fit into 8 MB; at least one. The others go back.
  return query
  with sized as materialized (
    select t.*, j.id as journal, sum(octet_length(j.body)) over (order by t.id) - octet_length(j.body) as before
    from unnest(claimed) t left join bus.journal j on j.id = t.subject::bigint
  ), back as (
    update bus.tasks x set worker = null, run_at = clock_timestamp()
    from sized s
    where s.before >= 8388608 and (x.organization_id, x.queue, x.key, x.id) = (s.organization_id, s.queue, s.key, s.id)
  )
  select s.queue, s.organization_id, s.key, s.id, s.lane, s.attempt, s.version, j.body, j.source
  from sized s left join bus.journal j on j.id = s.journal
  where s.before is null or s.before < 8388608;
end
$$;
comment on function bus.claim_intake(uuid, int, uuid, boolean) is 'Claims journal entries with their bodies.';

create or replace function bus.replay_parked(
  p_address text default null, p_ids bigint[] default null, p_since timestamptz default null) returns int
language plpgsql security definer
set search_path = ''
as $$
declare
  n int;
begin
  with gone as (
    delete from bus.parked p
    where (p_address is null or (p.address = p_address and p.reason in ('unknown_number', 'number_disconnected')))
      and (p_ids is null or p.id = any (p_ids))
      and (p_since is null or p.created_at >= p_since)
    returning p.journal_id
  ), again as (
    insert into bus.tasks as t (queue, organization_id, key, subject)
    select distinct 'intake', '00000000-0000-0000-0000-000000000000'::uuid, g.journal_id::text, g.journal_id::text from gone g
  )
  select count(*) into n from gone;
  if n > 0 then
    perform bus.ring('intake');
  end if;
  return n;
end
$$;
comment on function bus.replay_parked(text, bigint[], timestamptz) is
  'Takes parked items back: their journal entries go through intake again, which changes nothing that is stored already. Returns how many items.';

create or replace function bus.replay_dead(p_queue text default null, p_ids bigint[] default null, p_since timestamptz default null) returns int
language plpgsql security definer
set search_path = ''
as $$
declare
  back bus.dead[];
  q text;
begin
  with gone as (
    delete from bus.dead d
    where (p_queue is null or d.queue = p_queue) and (p_ids is null or d.id = any (p_ids)) and (p_since is null or d.died_at >= p_since)
    returning d.*
  )
  select array_agg(gone::bus.dead) into back from gone;
  if back is null then
    return 0;
  end if;
  insert into bus.tasks as t (queue, organization_id, key, lane, subject, priority, single, due_at, errors)
  select b.queue, b.organization_id, b.key, b.lane, b.subject, b.priority, b.single, b.due_at, b.errors
  from unnest(back) b order by b.due_at, b.id
  on conflict (organization_id, queue, key) where single do nothing;
  update bus.tasks t set waits_for = storage.upload_key(m.content -> 'file')
  from unnest(back) b
  join public.messages m on m.organization_id = b.organization_id and m.id = b.subject::uuid and m.service = 'whatsapp' and m.content ->> 'type' = 'file'
  where b.queue = 'dispatch' and t.organization_id = b.organization_id and t.queue = 'dispatch' and t.key = b.key and t.subject = b.subject;
  -- A message that was given up is pending again.
  perform set_config('tidings.replay', 'on', true);
  update public.messages m set status = '{"failed": null, "errors": null}'
  from unnest(back) b
  where b.queue = 'dispatch' and m.organization_id = b.organization_id and m.id = b.subject::uuid and m.status ? 'failed';
  perform set_config('tidings.replay', '', true);
  for q in select distinct b.queue from unnest(back) b loop
    perform bus.ring(q);
  end loop;
  return cardinality(back);
end
$$;
comment on function bus.replay_dead(text, bigint[], timestamptz) is 'Puts tasks that were given up back into their queues. Returns how many.';
