-- Claiming: which due tasks a worker gets. In turn among organizations, answers before broadcasts within one, in order
-- within a key, and no more than the lane's pace allows.
--
-- The functions that loops call all the time plan their statements once (force_generic_plan: planning anew took more than
-- half of a claim) and by index, whatever the statistics of a table that is nearly empty most of the time say.

create or replace function bus.enqueue(p_queue text, p_organization uuid, p_key text, p_subject text) returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values (p_queue, p_organization, p_key, p_subject, true)
  on conflict (organization_id, queue, key) where single do update set version = t.version + 1, subject = excluded.subject;
  perform bus.ring(p_queue);
end
$$;
comment on function bus.enqueue(text, uuid, text, text) is 'Asks for something to be done once for its key, however often it is asked.';

create or replace function bus.opens(l bus.lanes) returns timestamptz
language sql immutable parallel safe
as $$
  select greatest(l.tat - interval '25 ms', coalesce(l.resume_at, '-infinity'))
$$;
comment on function bus.opens(bus.lanes) is 'When the lane lets its next message go.';

create or replace function bus.room(l bus.lanes, p_now timestamptz) returns int
language sql immutable parallel safe
as $$
  -- GCRA with 25 ms of tolerance. The 4 % keep any one second at or below the rate, wherever it begins.
  select case
    when bus.opens(l) > p_now then 0
    when l.strikes > 0 then 1
    else floor(least(1000000, extract(epoch from p_now + interval '25 ms' - greatest(l.tat, p_now)) * l.rate / 1.04))::int + 1
  end
$$;
comment on function bus.room(bus.lanes, timestamptz) is 'How many messages the lane may send now. One, as a probe, after a failure that concerned the number.';

create or replace function bus.candidates_of(
  p_queue text, p_organization uuid, p_lane text, p_limit int, p_taken tid[], p_now timestamptz) returns tid[]
language plpgsql
set search_path = ''
as $$
declare
  found_tids tid[] := '{}';
  l bus.lanes;
  room int := p_limit;
begin
  if p_lane <> '' then
    select * into l from bus.lanes where organization_id = p_organization and lane = p_lane;
    if found then
      room := least(room, bus.room(l, p_now));
    end if;
  end if;
  for p in 0..1 loop
    exit when cardinality(found_tids) >= room;
    found_tids := found_tids || array(
      select t.ctid from bus.tasks t
      where t.queue = p_queue and t.organization_id = p_organization and t.lane = p_lane and t.priority = p
        and t.run_at <= p_now and t.ctid <> all (p_taken)
        and not exists (
          select from bus.tasks o
          where o.organization_id = t.organization_id and o.queue = t.queue and o.key = t.key
            and (o.due_at, o.id) < (t.due_at, t.id) and o.held_since is null)
      order by t.run_at
      limit room - cardinality(found_tids)
      for update skip locked);
  end loop;
  return found_tids;
end
$$;
comment on function bus.candidates_of(text, uuid, text, int, tid[], timestamptz) is 'Up to p_limit claimable tasks of one lane, locked; as many as its pace has room for.';

create or replace function bus.candidates(p_queue text, p_limit int, p_after uuid, p_organization uuid, p_now timestamptz) returns tid[]
language plpgsql
set search_path = ''
as $$
declare
  tids tid[] := '{}';
  got tid[];
  share int;
  v_org uuid;
  v_lane text;
  wrapped boolean;
  more boolean;
begin
  if p_organization is null
    and (select count(*) from (select from bus.tasks t where t.queue = p_queue and t.run_at <= p_now limit p_limit + 1) due) <= p_limit then
    -- Enough for everyone.
    return array(
      select t.ctid from bus.tasks t
      where t.queue = p_queue and t.run_at <= p_now
        and not exists (
          select from bus.tasks o
          where o.organization_id = t.organization_id and o.queue = t.queue and o.key = t.key
            and (o.due_at, o.id) < (t.due_at, t.id) and o.held_since is null)
      order by t.run_at
      limit p_limit
      for update skip locked);
  end if;

  -- A backlog: walk the lanes from the one after the last served, a share for each; then, if there is room, all they have.
  foreach share in array array[greatest(1, p_limit / 8), p_limit] loop
    more := false;
    wrapped := p_after is null or p_organization is not null;
    v_org := case when p_organization is null then p_after end;
    v_lane := U&'\+10FFFF';
    loop
      if p_organization is not null then
        select t.organization_id, t.lane into v_org, v_lane from bus.tasks t
        where t.queue = p_queue and t.organization_id = p_organization and (v_org is null or t.lane > v_lane)
        order by t.lane limit 1;
      elsif v_org is null then
        select t.organization_id, t.lane into v_org, v_lane from bus.tasks t
        where t.queue = p_queue order by t.organization_id, t.lane limit 1;
      else
        select t.organization_id, t.lane into v_org, v_lane from bus.tasks t
        where t.queue = p_queue and (t.organization_id, t.lane) > (v_org, v_lane)
        order by t.organization_id, t.lane limit 1;
      end if;
      if not found then
        exit when wrapped;
        wrapped := true;
        v_org := null;
        continue;
      end if;
      exit when wrapped and p_after is not null and p_organization is null and v_org > p_after;
      got := bus.candidates_of(p_queue, v_org, v_lane, least(share, p_limit - cardinality(tids)), tids, p_now);
      more := more or cardinality(got) >= share;
      tids := tids || got;
      exit when cardinality(tids) >= p_limit;
    end loop;
    exit when cardinality(tids) >= p_limit or not more;
  end loop;
  return tids;
end
$$;
comment on function bus.candidates(text, int, uuid, uuid, timestamptz) is
  'The tasks to claim next, locked: all that are due when they are few, otherwise from organizations in turn, beginning after p_after.';

create or replace function bus.admit(p_tids tid[], p_now timestamptz) returns tid[]
language plpgsql
set search_path = ''
as $$
declare
  -- A task whose last attempt ended without a word will not be sent, so it needs no room.
  suspects tid[] := array(select t.ctid from bus.tasks t where t.ctid = any (p_tids) and t.worker is not null);
  candidates tid[] := array(select t.ctid from bus.tasks t where t.ctid = any (p_tids) and t.worker is null);
  tids tid[];
begin
  -- Pairs of numbers: one message in 6 s, 45 in a burst. Who must wait gets a later run_at; the rest of its key waits behind it.
  -- (Scalar subqueries: one probe of the key for each, whatever the planner thinks of a table without statistics.)
  tids := array(
    select t.ctid from bus.tasks t
    where t.ctid = any (candidates)
      and coalesce((select p.tat from bus.pairs p where p.organization_id = t.organization_id and p.key = t.key), p_now) <= p_now + interval '264 s');
  if cardinality(tids) < cardinality(candidates) then
    update bus.tasks t set
      run_at = (select p.tat - interval '264 s' from bus.pairs p where p.organization_id = t.organization_id and p.key = t.key)
    where t.ctid = any (candidates) and t.ctid <> all (tids);
  end if;

  -- Numbers: as many as the pace has room for; the others stay as they are and come with a later claim. A lane that
  -- somebody else has locked is left to him: nobody waits here while holding other tenants' tasks.
  with want as (
    select t.ctid as tid, t.organization_id, t.lane,
      row_number() over (partition by t.organization_id, t.lane order by t.priority, t.run_at, t.id) as n
    from bus.tasks t where t.ctid = any (tids)
  ), open as materialized (
    select l.organization_id, l.lane, bus.room(l, p_now) as room from bus.lanes l
    where (l.organization_id, l.lane) in (select w.organization_id, w.lane from want w)
    for update skip locked
  ), let as (
    select w.tid, w.organization_id, w.lane
    from want w join open l on l.organization_id = w.organization_id and l.lane = w.lane
    where w.n <= l.room
    union all
    select w.tid, w.organization_id, w.lane from want w
    where not exists (select from bus.lanes l where l.organization_id = w.organization_id and l.lane = w.lane)
  ), spent as (
    update bus.lanes l set
      tat = greatest(l.tat, p_now) + make_interval(secs => x.n * 1.04 / l.rate::float8),
      resume_at = case when l.strikes > 0 then p_now + interval '30 s' else l.resume_at end
    from (select let.organization_id, let.lane, count(*) as n from let group by 1, 2) x
    where l.organization_id = x.organization_id and l.lane = x.lane
  )
  select array(select let.tid from let) into tids;

  insert into bus.pairs as p (organization_id, key, tat)
  select distinct t.organization_id, t.key, p_now + interval '6 s' from bus.tasks t where t.ctid = any (tids)
  order by t.organization_id, t.key
  on conflict (organization_id, key) do update set tat = greatest(p.tat, p_now) + interval '6 s';
  return tids || suspects;
end
$$;
comment on function bus.admit(tid[], timestamptz) is 'Of the candidates, those that the limits per pair and per number let go now. Counts them.';

create or replace function bus.claim(
  p_queue text, p_worker uuid, p_limit int, p_after uuid default null, p_awake boolean default true, p_organization uuid default null)
returns setof bus.claimed
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  moment timestamptz := clock_timestamp();
  tids tid[];
begin
  if p_awake then
    perform bus.wake(p_queue, p_worker);
  end if;
  if p_queue <> 'dispatch' then
    -- A claim that a crash of the server forgets is only claimed again, and what it hands out can be done again. Not so
    -- a send: that somebody may have begun it must be known for good before he begins.
    perform set_config('synchronous_commit', 'off', true);
  end if;
  tids := bus.candidates(p_queue, p_limit, p_after, p_organization, moment);
  if p_queue = 'dispatch' and cardinality(tids) > 0 then
    tids := bus.admit(tids, moment);
  end if;
  if cardinality(tids) = 0 then
    return;
  end if;
  return query
  update bus.tasks t set
    run_at = moment + (select q.lease from bus.queues q where q.queue = p_queue),
    attempt = t.attempt + 1,
    suspect = t.worker is not null,
    waiting = false,
    worker = p_worker
  where t.ctid = any (tids)
  returning t.queue, t.organization_id, t.key, t.id, t.lane, t.subject, t.attempt, t.version, t.suspect, t.held_since, t.waits_for;
end
$$;
comment on function bus.claim(text, uuid, int, uuid, boolean, uuid) is
  'Gives the worker up to p_limit due tasks and leases them to it. p_after: the organization served last; p_organization: of this one only.';
