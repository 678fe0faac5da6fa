--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: auth; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA auth;


--
-- Name: bus; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA bus;


--
-- Name: SCHEMA bus; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA bus IS 'Journal, tasks and bell. Internal.';


--
-- Name: rest; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA rest;


--
-- Name: SCHEMA rest; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA rest IS 'The gateway of /rest/v1. Internal.';


--
-- Name: secrets; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA secrets;


--
-- Name: SCHEMA secrets; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA secrets IS 'Stored credentials and key hashes. Internal; nobody but the owner may look.';


--
-- Name: claimed; Type: TYPE; Schema: bus; Owner: -
--

CREATE TYPE bus.claimed AS (
	queue text,
	organization_id uuid,
	key text,
	id bigint,
	lane text,
	subject text,
	attempt integer,
	version integer,
	suspect boolean,
	held_since timestamp with time zone
);


--
-- Name: TYPE claimed; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TYPE bus.claimed IS 'A task as bus.claim gives it out. suspect: an earlier attempt ended without a word.';


--
-- Name: job; Type: TYPE; Schema: bus; Owner: -
--

CREATE TYPE bus.job AS (
	queue text,
	organization_id uuid,
	key text,
	id bigint,
	lane text,
	attempt integer,
	version integer,
	payload jsonb
);


--
-- Name: TYPE job; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TYPE bus.job IS 'A claimed task with all its handler needs.';


--
-- Name: sent; Type: TYPE; Schema: bus; Owner: -
--

CREATE TYPE bus.sent AS (
	queue text,
	organization_id uuid,
	key text,
	id bigint,
	lane text,
	attempt integer,
	message_id uuid,
	outcome text,
	external_id text,
	status jsonb,
	holds boolean
);


--
-- Name: TYPE sent; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TYPE bus.sent IS 'What came of a send, as the dispatch loop reports it.';


--
-- Name: direction; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.direction AS ENUM (
    'incoming',
    'outgoing',
    'internal'
);


--
-- Name: log_level; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.log_level AS ENUM (
    'info',
    'warning',
    'error'
);


--
-- Name: role; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.role AS ENUM (
    'owner',
    'admin',
    'member'
);


--
-- Name: service; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.service AS ENUM (
    'whatsapp',
    'instagram',
    'local',
    'slack',
    'discord',
    'teams',
    'whatsapp-web'
);


--
-- Name: webhook_operation; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.webhook_operation AS ENUM (
    'insert',
    'update'
);


--
-- Name: webhook_table; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.webhook_table AS ENUM (
    'messages',
    'conversations',
    'organizations_addresses',
    'contacts',
    'contacts_addresses',
    'logs'
);


--
-- Name: accept(uuid, uuid, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.accept(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.messages m set external_id = coalesce(m.external_id, p_external_id), status = p_status
  where m.organization_id = p_organization and m.id = p_message;
exception when unique_violation then
  -- The provider gave out an id twice. The message has gone out all the same.
  update public.messages m set status = p_status where m.organization_id = p_organization and m.id = p_message;
  perform bus.log_message(p_organization, p_message, 'warning', 'dispatch', 'the provider answered with an id that another message has',
    jsonb_build_object('external_id', p_external_id));
end
$$;


--
-- Name: admit(tid[], timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.admit(p_tids tid[], p_now timestamp with time zone) RETURNS tid[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION admit(p_tids tid[], p_now timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.admit(p_tids tid[], p_now timestamp with time zone) IS 'Of the candidates, those that the limits per pair and per number let go now. Counts them.';


--
-- Name: adopt_orphans(uuid, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  early jsonb;
begin
  -- Whoever stores a receipt without its message takes the same lock, so one of the two sees the other.
  perform pg_advisory_xact_lock(hashtextextended(p_address || ' ' || p_external_id, 0));
  delete from bus.orphans o
  where (o.organization_id, o.organization_address, o.external_id) = (p_organization, p_address, p_external_id)
  returning o.status into early;
  if early is not null then
    update public.messages m set status = early
    where (m.organization_id, m.organization_address, m.external_id) = (p_organization, p_address, p_external_id);
  end if;
end
$$;


--
-- Name: FUNCTION adopt_orphans(p_organization uuid, p_address text, p_external_id text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) IS 'Applies receipts that came before their message.';


--
-- Name: after_insert_on_journal(); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.after_insert_on_journal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  insert into bus.tasks (queue, organization_id, key, subject)
  select 'intake', '00000000-0000-0000-0000-000000000000', n.id::text, n.id::text from inserted n;
  perform bus.ring('intake');
  return null;
end
$$;


--
-- Name: agent_context(uuid, uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.agent_context(p_organization uuid, p_conversation uuid, p_message uuid) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  o public.organizations;
  c public.conversations;
  a public.agents;
  address public.contacts_addresses;
  contact public.contacts;
  newest public.messages;
  history jsonb;
  gate text;
begin
  select * into o from public.organizations where id = p_organization;
  select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
  select * into newest from public.messages where organization_id = p_organization and id = p_message;
  if c.id is null or newest.id is null then
    return jsonb_build_object('gate', 'the conversation or its message is gone');
  end if;
  select * into address from public.contacts_addresses
  where organization_id = p_organization and service = c.service and contacts_addresses.address = c.contact_address;
  select * into contact from public.contacts where organization_id = p_organization and id = address.contact_id;

  gate := case
    when bus.is_paused(c.extra) then 'paused: a person has taken over'
    when o.extra -> 'authorized_contacts_only' = 'true' and c.service <> 'local' and contact.id is null
      then 'authorized_contacts_only: not in the address book'
    when c.service <> 'local' and newest."timestamp" < now() - interval '24 hours' then 'the 24-hour window is closed'
  end;
  if gate is not null then
    return jsonb_build_object('gate', gate);
  end if;

  a := bus.choose_agent(o, c);
  -- A greeting for whoever writes for the first time; it does not stand in for the answer.
  if coalesce(o.extra ->> 'welcome_message', '') <> ''
    and not exists (select from public.messages m where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'outgoing') then
    perform bus.answer(c, null, jsonb_build_array(jsonb_build_object(
      'version', '1', 'type', 'text', 'kind', 'text', 'text', o.extra ->> 'welcome_message')), 'outgoing');
  end if;
  if a.id is null then
    return jsonb_build_object('gate', 'no active agent');
  end if;

  -- Blue ticks and "typing …" while it works.
  if newest.external_id is not null and c.service <> 'local' then
    update public.messages m set status = jsonb_build_object('read', clock_timestamp(), 'typing', clock_timestamp())
    where m.organization_id = p_organization and m.id = newest.id;
  end if;
  return jsonb_build_object(
    'organization', jsonb_build_object('id', o.id, 'name', o.name, 'extra', o.extra),
    'conversation', jsonb_build_object('id', c.id, 'service', c.service, 'organization_address', c.organization_address,
      'contact_address', c.contact_address, 'group_address', c.group_address, 'extra', c.extra),
    'contact', jsonb_build_object('id', contact.id, 'name', coalesce(contact.name, address.extra ->> 'name'), 'phone_number', address.extra ->> 'phone_number'),
    'agent', jsonb_build_object('id', a.id, 'name', a.name, 'extra', a.extra),
    'credential', secrets.get(p_organization, 'agents', a.id::text, 'api_key'),
    'messages', bus.agent_history(p_organization, p_conversation));
end
$$;


--
-- Name: FUNCTION agent_context(p_organization uuid, p_conversation uuid, p_message uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_context(p_organization uuid, p_conversation uuid, p_message uuid) IS 'All a run needs in one object, or {"gate": reason} when the agent should keep quiet. Sends the welcome message and asks for the read receipt.';


--
-- Name: agent_history(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.agent_history(p_organization uuid, p_conversation uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  -- In the order of arrival: providers' times are whole seconds, so by them a question that came right after an answer
  -- would stand before it. What was imported later keeps its own time.
  select coalesce(jsonb_agg(jsonb_build_object(
      'external_id', x.external_id, 'direction', x.direction, 'content', x.content, 'deleted', x.status ? 'deleted',
      'program', x.agent_id is null and x.status ? 'pending', 'timestamp', x."timestamp") order by x.arrived, x.id), '[]')
  from (
    select m.*, case when m.created_at < m."timestamp" + interval '10 minutes' then m.created_at else m."timestamp" end as arrived
    from public.messages m
    where m.organization_id = p_organization and m.conversation_id = p_conversation
      -- The provider's clock may be a little ahead of ours; what lies further ahead is scheduled.
      and m."timestamp" > now() - interval '7 days' and m."timestamp" <= now() + case when m.direction = 'incoming' then interval '1 hour' else '0' end
    order by m."timestamp" desc, m.id desc limit 50
  ) x
$$;


--
-- Name: FUNCTION agent_history(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_history(p_organization uuid, p_conversation uuid) IS 'The newest 50 messages of the last 7 days, in the order of arrival. program: sent by no agent and no person.';


--
-- Name: uuid_v7(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.uuid_v7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
  -- 48 bits of milliseconds, 4 of version, 12 of the millisecond's fraction, then 62 random ones: RFC 9562, method 3.
  select encode(
    set_byte(
      set_byte(
        overlay(uuid_send(gen_random_uuid()) placing substring(int8send(us / 1000) from 3) from 1 for 6),
        6, (112 | (((us % 1000) * 4096 / 1000) >> 8))::int),
      7, (((us % 1000) * 4096 / 1000) & 255)::int),
    'hex')::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) as clock
$$;


--
-- Name: FUNCTION uuid_v7(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.uuid_v7() IS 'A new id that sorts by the time it was made, to the microsecond (UUID version 7).';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: conversations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.conversations (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    service public.service NOT NULL,
    organization_address text NOT NULL,
    contact_address text,
    group_address text,
    name text,
    extra jsonb,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE conversations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.conversations IS 'A thread between one of the organization''s addresses and a contact or a group. At most one is active for each pair; closed ones stay.';


--
-- Name: COLUMN conversations.extra; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.conversations.extra IS 'memory, paused (time: the agent is silent for 12 hours from it), archived, pinned, default_agent_id. Updates merge; a JSON null removes a key.';


--
-- Name: answer(public.conversations, uuid, jsonb, public.direction); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.answer(p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  -- The database's clock, and a microsecond apart: order without a wait.
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, content, status, "timestamp")
  select p_conversation.organization_id, p_conversation.id, p_direction, p_agent, p_conversation.contact_address, p_conversation.service,
    p_conversation.organization_address, p_conversation.group_address, x.content,
    case when p_direction = 'outgoing' then jsonb_build_object('pending', now()) else '{}' end,
    clock_timestamp() + x.n * interval '1 microsecond'
  from jsonb_array_elements(p_contents) with ordinality x (content, n)
  order by x.n
$$;


--
-- Name: FUNCTION answer(p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.answer(p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction) IS 'Stores messages of an agent in their order.';


--
-- Name: orphans; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.orphans (
    organization_id uuid NOT NULL,
    organization_address text NOT NULL,
    external_id text NOT NULL,
    status jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE orphans; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.orphans IS 'Receipts that came before their message. Applied when the message gets its external_id.';


--
-- Name: apply_early(bus.orphans); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.apply_early(o bus.orphans) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.messages m set status = o.status
  where (m.organization_id, m.organization_address, m.external_id) = (o.organization_id, o.organization_address, o.external_id);
  return true;
end
$$;


--
-- Name: as_time(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.as_time(p_text text) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  return p_text::timestamptz;
exception when data_exception then
  return null;
end
$$;


--
-- Name: FUNCTION as_time(p_text text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.as_time(p_text text) IS 'A time that a client wrote into JSON; null when it is none. One row''s nonsense must not stop a loop.';


--
-- Name: backoff(text, integer); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.backoff(p_queue text, p_attempt integer) RETURNS interval
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select greatest(interval '50 ms', random() * least(q.backoff_cap, q.backoff * power(2, least(p_attempt, 30) - 1)))
  from bus.queues q where q.queue = p_queue
$$;


--
-- Name: FUNCTION backoff(p_queue text, p_attempt integer); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.backoff(p_queue text, p_attempt integer) IS 'How long to wait after a failed attempt: exponential with full jitter.';


--
-- Name: bury(bigint[], jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.bury(p_ids bigint[], p_results jsonb) RETURNS integer
    LANGUAGE sql
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION bury(p_ids bigint[], p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.bury(p_ids bigint[], p_results jsonb) IS 'Moves tasks to bus.dead with their errors.';


--
-- Name: candidates(text, integer, uuid, uuid, timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.candidates(p_queue text, p_limit integer, p_after uuid, p_organization uuid, p_now timestamp with time zone) RETURNS tid[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION candidates(p_queue text, p_limit integer, p_after uuid, p_organization uuid, p_now timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.candidates(p_queue text, p_limit integer, p_after uuid, p_organization uuid, p_now timestamp with time zone) IS 'The tasks to claim next, locked: all that are due when they are few, otherwise from organizations in turn, beginning after p_after.';


--
-- Name: candidates_of(text, uuid, text, integer, tid[], timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.candidates_of(p_queue text, p_organization uuid, p_lane text, p_limit integer, p_taken tid[], p_now timestamp with time zone) RETURNS tid[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION candidates_of(p_queue text, p_organization uuid, p_lane text, p_limit integer, p_taken tid[], p_now timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.candidates_of(p_queue text, p_organization uuid, p_lane text, p_limit integer, p_taken tid[], p_now timestamp with time zone) IS 'Up to p_limit claimable tasks of one lane, locked; as many as its pace has room for.';


--
-- Name: agents; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.agents (
    organization_id uuid NOT NULL,
    user_id uuid,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    name text NOT NULL,
    picture text,
    ai boolean NOT NULL,
    extra jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT agents_ai_is_no_member CHECK ((NOT (ai AND ((user_id IS NOT NULL) OR (extra ? 'role'::text) OR (extra ? 'invitation'::text)))))
);


--
-- Name: TABLE agents; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.agents IS 'Who answers for the organization: AI agents, and people with their roles and invitations.';


--
-- Name: organizations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.organizations (
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    name text NOT NULL,
    extra jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE organizations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.organizations IS 'The tenants. Everything else belongs to exactly one of them and goes with it.';


--
-- Name: COLUMN organizations.extra; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.organizations.extra IS 'Settings: response_delay_seconds (3), welcome_message, authorized_contacts_only, default_agent_id, media_preprocessing, error_messages_direction. Updates merge; a JSON null removes a key.';


--
-- Name: choose_agent(public.organizations, public.conversations); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.choose_agent(p_organization public.organizations, p_conversation public.conversations) RETURNS public.agents
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  -- The conversation's choice, then the organization's, then the oldest. Drafts answer in local chats only; an inactive
  -- one only where a local chat names it.
  select a from public.agents a
  where a.organization_id = p_organization.id and a.ai
    and (coalesce(a.extra ->> 'mode', 'active') = 'active'
      or (p_conversation.service = 'local' and (a.extra ->> 'mode' = 'draft' or a.id::text = p_conversation.extra ->> 'default_agent_id')))
  order by a.id::text is not distinct from p_conversation.extra ->> 'default_agent_id' desc,
    a.id::text is not distinct from p_organization.extra ->> 'default_agent_id' desc,
    coalesce(a.extra ->> 'mode', 'active') = 'active' desc, a.created_at, a.id
  limit 1
$$;


--
-- Name: FUNCTION choose_agent(p_organization public.organizations, p_conversation public.conversations); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.choose_agent(p_organization public.organizations, p_conversation public.conversations) IS 'The AI agent that answers in a conversation, or null.';


--
-- Name: claim(text, uuid, integer, uuid, boolean, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim(p_queue text, p_worker uuid, p_limit integer, p_after uuid DEFAULT NULL::uuid, p_awake boolean DEFAULT true, p_organization uuid DEFAULT NULL::uuid) RETURNS SETOF bus.claimed
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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
    worker = p_worker
  where t.ctid = any (tids)
  returning t.queue, t.organization_id, t.key, t.id, t.lane, t.subject, t.attempt, t.version, t.suspect, t.held_since;
end
$$;


--
-- Name: FUNCTION claim(p_queue text, p_worker uuid, p_limit integer, p_after uuid, p_awake boolean, p_organization uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim(p_queue text, p_worker uuid, p_limit integer, p_after uuid, p_awake boolean, p_organization uuid) IS 'Gives the worker up to p_limit due tasks and leases them to it. p_after: the organization served last; p_organization: of this one only.';


--
-- Name: claim_agent(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c bus.claimed;
  payload jsonb;
begin
  for c in select * from bus.claim('agent', p_worker, p_limit, p_after, p_awake) loop
    begin
      payload := bus.agent_context(c.organization_id, c.key::uuid, c.subject::uuid);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        -- One conversation's trouble must not stop the others.
        payload := jsonb_build_object('error', sqlerrm);
    end;
    return next row(c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version, payload)::bus.job;
  end loop;
end
$$;


--
-- Name: FUNCTION claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims conversations that wait for an answer, each with its context.';


--
-- Name: claim_dispatch(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_dispatch(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  claimed bus.claimed[];
  given int;
begin
  claimed := array(select c::bus.claimed from bus.claim('dispatch', p_worker, p_limit, p_after, p_awake) c);
  if cardinality(claimed) = 0 then
    return;
  end if;
  if exists (select from unnest(claimed) c where c.suspect) then
    perform bus.hold_suspects(array(select c::bus.claimed from unnest(claimed) c where c.suspect));
  end if;
  return query
  select c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version,
    jsonb_build_object(
      'message_id', m.id, 'content', m.content, 'contact_address', m.contact_address, 'group_address', m.group_address,
      'phone_number', a.extra ->> 'phone_number', 'bsuid', a.extra ->> 'bsuid', 'service', m.service,
      'credential', case when k.path is not null then secrets.as_json(k) end)
  from unnest(claimed) c
  join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
  left join secrets.credentials k
    on (k.organization_id, k.subject, k.subject_key, k.path) = (m.organization_id, 'organizations_addresses', m.organization_address, 'access_token')
  left join public.contacts_addresses a
    on a.organization_id = m.organization_id and a.service = m.service and a.address = m.contact_address
  where not c.suspect and m.external_id is null and not m.status ? 'failed';
  get diagnostics given = row_count;
  if given < cardinality(claimed) then
    -- Sent, given up or deleted meanwhile: nothing to do.
    delete from bus.tasks t
    using unnest(claimed) c
    left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
      and not c.suspect and (m.id is null or m.external_id is not null or m.status ? 'failed');
  end if;
end
$$;


--
-- Name: FUNCTION claim_dispatch(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_dispatch(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims messages to send with all that sending needs. A message whose last attempt ended without a word is never among them: it waits for its receipt.';


--
-- Name: claim_intake(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS TABLE(queue text, organization_id uuid, key text, id bigint, lane text, attempt integer, version integer, payload bytea)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('intake', p_worker, p_limit, p_after, p_awake) c);
  return query
  select t.queue, t.organization_id, t.key, t.id, t.lane, t.attempt, t.version, j.body
  from unnest(claimed) t
  left join bus.journal j on j.id = t.subject::bigint;
end
$$;


--
-- Name: FUNCTION claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims journal entries with their bodies.';


--
-- Name: claim_receipts(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('receipts', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, coalesce(m.organization_address, c.lane), c.attempt, c.version,
    jsonb_build_object(
      'external_id', m.external_id, 'service', m.service,
      -- An indicator is shown for 25 s at most: an old request for one is only a read receipt.
      'typing', coalesce(bus.as_time(m.status ->> 'typing') > now() - interval '25 s', false),
      'credential', secrets.get(c.organization_id, 'organizations_addresses', m.organization_address, 'access_token'))
  from unnest(claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    and m.external_id is not null and m."timestamp" > now() - interval '30 days';
end
$$;


--
-- Name: FUNCTION claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims read receipts to send. lane is the number; a payload without external_id has nothing to send.';


--
-- Name: claim_seal(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('seal', p_worker, p_limit, p_after, p_awake) c);
  return query
  select t.queue, t.organization_id, t.key, t.id, t.lane, t.attempt, t.version,
    jsonb_build_object('organization_id', c.organization_id, 'subject', c.subject, 'subject_key', c.subject_key,
                       'path', c.path, 'plain', c.plain)
  from unnest(claimed) t
  left join secrets.credentials c
    on c.organization_id = t.organization_id
    and c.subject || ' ' || c.subject_key || ' ' || c.path = t.key
    and c.plain is not null;
end
$$;


--
-- Name: FUNCTION claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims credentials to encrypt. The payload is null where there is nothing left to do.';


--
-- Name: enqueue(text, uuid, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.enqueue(p_queue text, p_organization uuid, p_key text, p_subject text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values (p_queue, p_organization, p_key, p_subject, true)
  on conflict (organization_id, queue, key) where single do update set version = t.version + 1, subject = excluded.subject;
  perform bus.ring(p_queue);
end
$$;


--
-- Name: FUNCTION enqueue(p_queue text, p_organization uuid, p_key text, p_subject text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.enqueue(p_queue text, p_organization uuid, p_key text, p_subject text) IS 'Asks for something to be done once for its key, however often it is asked.';


--
-- Name: fail_unknown(uuid, bigint, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.fail_unknown(p_organization uuid, p_task bigint, p_message uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform bus.bury(array[p_task], (
    select jsonb_agg(to_jsonb(t) || '{"error": "outcome unknown: no receipt came in time"}')
    from bus.tasks t where t.organization_id = p_organization and t.queue = 'dispatch' and t.id = p_task));
  update public.messages m set status = jsonb_build_object('failed', now())
  where m.organization_id = p_organization and m.id = p_message;
  perform bus.log_message(p_organization, p_message, 'error', 'dispatch', 'outcome of a send unknown: no answer and no receipt', null);
end
$$;


--
-- Name: finish(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish(p_results jsonb) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
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


--
-- Name: FUNCTION finish(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish(p_results jsonb) IS 'Settles claimed tasks: [{queue, organization_id, key, id, attempt, version, outcome, after, error}], outcome done (default), retry (after seconds, or by the queue''s schedule) or dead. Returns how many were still the caller''s.';


--
-- Name: finish_agent(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_agent(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  r record;
  t bus.tasks;
  c public.conversations;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      agent_id uuid, answer jsonb, apology jsonb, forget boolean)
    order by x.organization_id, x.key
  loop
    -- Locked before looking: a message that arrives now waits for us, or we for it.
    select * into t from bus.tasks x
    where (x.organization_id, x.queue, x.key, x.id, x.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    if t.version = r.version and (r.answer is not null or r.apology is not null) then
      select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid for no key update;
      if not bus.is_paused(c.extra) then
        if r.forget then
          update public.conversations x set extra = '{"memory": null}' where x.organization_id = c.organization_id and x.id = c.id and x.extra ? 'memory';
        end if;
        if r.answer is not null then
          perform bus.answer(c, r.agent_id, r.answer, 'outgoing');
        end if;
        if r.apology is not null then
          perform bus.answer(c, r.agent_id, r.apology, 'outgoing');
        end if;
      end if;
    end if;
    if r.error is not null and r.outcome = 'dead' then
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      select x.organization_id, x.organization_address, 'error', 'agent', x.service, left(r.error, 1000),
        jsonb_build_object('conversation_id', x.id, 'agent_id', r.agent_id)
      from public.conversations x where x.organization_id = r.organization_id and x.id = r.key::uuid;
      select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid;
      perform bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object(
        'version', '1', 'type', 'text', 'kind', 'error', 'text', left(r.error, 1000))), 'internal');
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', case when t.version <> r.version then 'done' else r.outcome end, 'after', r.after, 'error', r.error)));
  end loop;
end
$$;


--
-- Name: FUNCTION finish_agent(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_agent(p_results jsonb) IS 'Stores the answers of runs whose conversation has not moved on: no newer message, no person, no pause. Otherwise the answer is dropped, and the task runs again if there is something newer.';


--
-- Name: finish_dispatch(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_dispatch(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  results bus.sent[] := array(select r from jsonb_populate_recordset(null::bus.sent, p_results) r);
  r bus.sent;
  mine bigint[];
begin
  -- First the locks that keep receipts and messages from missing each other, in one order for everyone.
  perform pg_advisory_xact_lock(h) from (
    select hashtextextended(x.lane || ' ' || x.external_id, 0) as h
    from unnest(results) x where x.outcome = 'accepted' order by 1) locks;

  with gone as (
    delete from bus.tasks t
    using unnest(results) x
    where (t.organization_id, t.queue, t.key, t.id) = (x.organization_id, x.queue, x.key, x.id)
      -- An answer that comes late, when the task is already held for it, is as good as a receipt.
      and (t.attempt = x.attempt or (x.outcome = 'accepted' and t.held_since is not null))
      and x.outcome in ('accepted', 'failed')
    returning t.id
  )
  select coalesce(array_agg(id), '{}') into mine from gone;

  begin
    update public.messages m set external_id = coalesce(m.external_id, x.external_id), status = x.status
    from unnest(results) x
    where m.organization_id = x.organization_id and m.id = x.message_id
      and (x.outcome = 'accepted' or (x.outcome = 'failed' and x.id = any (mine)));
  exception when unique_violation then
    foreach r in array results loop
      if r.outcome = 'accepted' or (r.outcome = 'failed' and r.id = any (mine)) then
        perform bus.accept(r.organization_id, r.message_id, r.external_id, r.status);
      end if;
    end loop;
  end;

  -- The usual case is that no receipt was early.
  if exists (select from bus.orphans) then
    delete from bus.orphans o
    using unnest(results) x
    where x.outcome = 'accepted' and (o.organization_id, o.organization_address, o.external_id) = (x.organization_id, x.lane, x.external_id)
      and bus.apply_early(o);
  end if;

  -- The number answers: whatever was wrong with it is over.
  update bus.lanes l set strikes = 0, resume_at = null, paused_reason = null, updated_at = now()
  from (select distinct x.organization_id, x.lane from unnest(results) x where not coalesce(x.holds, false)) x
  where l.organization_id = x.organization_id and l.lane = x.lane
    and (l.strikes > 0 or l.paused_reason is not null) and l.resume_at is distinct from 'infinity';

  if exists (select from unnest(results) x where x.outcome <> 'accepted') then
    perform bus.finish_unsent(p_results);
  end if;
end
$$;


--
-- Name: FUNCTION finish_dispatch(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_dispatch(p_results jsonb) IS 'Writes the outcome of sends back: tasks, messages, receipts that were early, and the health of the number. One statement for a batch.';


--
-- Name: finish_intake(jsonb, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  routed jsonb;
  e jsonb;
  problem text;
begin
  -- Whose number is it?
  select coalesce(jsonb_agg(x.event || jsonb_build_object('organization_id', n.organization_id) order by x.i), '[]') into routed
  from jsonb_array_elements(p_events) with ordinality as x (event, i)
  left join bus.numbers n on n.service = (x.event ->> 'service')::public.service and n.address = x.event ->> 'address';

  if exists (select from jsonb_array_elements(routed) x where x ->> 'type' in ('message', 'status') and x ->> 'organization_id' is null) then
    -- Nobody's, as it seems. Whoever registers a number takes the same lock: either we see the number now, or he sees
    -- what we park.
    perform pg_advisory_xact_lock_shared(h) from (
      select distinct hashtextextended('number ' || (x ->> 'address'), 0) as h from jsonb_array_elements(routed) x
      where x ->> 'organization_id' is null and x ->> 'address' is not null order by 1) locks;
    select coalesce(jsonb_agg(x.event || jsonb_build_object('organization_id', n.organization_id) order by x.i), '[]') into routed
    from jsonb_array_elements(p_events) with ordinality as x (event, i)
    left join bus.numbers n on n.service = (x.event ->> 'service')::public.service and n.address = x.event ->> 'address';
  end if;

  for e in select x from jsonb_array_elements(routed) x
           where x ->> 'type' = 'park' or (x ->> 'type' <> 'contact' and x ->> 'organization_id' is null) loop
    if e ->> 'type' = 'park' then
      perform bus.park(e, e ->> 'reason', e ->> 'detail');
    else
      perform bus.park(e, 'unknown_number', 'no organization has the address ' || coalesce(e ->> 'address', '(none)'));
    end if;
  end loop;
  select coalesce(jsonb_agg(x.event order by x.i), '[]') into routed
  from jsonb_array_elements(routed) with ordinality as x (event, i)
  where x.event ->> 'type' <> 'park' and x.event ->> 'organization_id' is not null;

  -- All at once; and if one of them cannot be stored, one by one, so that it does not hold up its neighbours.
  if jsonb_array_length(routed) > 0 then
    begin
      perform bus.store_events(routed);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        for e in select x from jsonb_array_elements(routed) x loop
          begin
            perform bus.store_events(jsonb_build_array(e));
          exception
            when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
              raise;
            when others then
              get stacked diagnostics problem = message_text;
              perform bus.park(e, 'refused', problem);
          end;
        end loop;
    end;
  end if;
  perform bus.finish(p_results);
end
$$;


--
-- Name: FUNCTION finish_intake(p_results jsonb, p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb) IS 'Stores the events of claimed journal entries and finishes their tasks, in one transaction. What cannot be stored is parked by itself.';


--
-- Name: finish_seal(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_seal(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update secrets.credentials c set sealed = decode(r.sealed, 'base64'), plain = null
  from jsonb_to_recordset(p_results) as r (organization_id uuid, subject text, subject_key text, path text, plain text, sealed text)
  where (c.organization_id, c.subject, c.subject_key, c.path) = (r.organization_id, r.subject, r.subject_key, r.path)
    and c.plain = r.plain and r.sealed is not null;
  perform bus.finish(p_results);
end
$$;


--
-- Name: FUNCTION finish_seal(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_seal(p_results jsonb) IS 'Stores the sealed values whose plain ones have not changed meanwhile, and finishes the tasks.';


--
-- Name: finish_unsent(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_unsent(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, lane text, attempt int, message_id uuid,
      outcome text, status jsonb, after float8, error text, age float8, holds boolean, lane_after float8, lane_reason text, parts jsonb)
    where x.outcome <> 'accepted' order by x.organization_id, x.lane, x.id
  loop
    if r.outcome = 'failed' then
      perform bus.log_message(r.organization_id, r.message_id, 'error', 'dispatch', r.error, null);
      continue;
    end if;
    perform from bus.tasks t
    where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    if r.outcome = 'unknown' then
      update bus.tasks t set held_since = clock_timestamp(), run_at = clock_timestamp() + q.hold, errors = bus.note(t.errors, r.error)
      from bus.queues q
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id) and q.queue = t.queue;
      perform bus.mark_unknown(r.organization_id, r.message_id);
    elsif r.outcome = 'split' then
      perform bus.split_message(r.organization_id, r.message_id, r.parts);
      update bus.tasks t set worker = null, run_at = clock_timestamp(),
        due_at = t.due_at - jsonb_array_length(r.parts) * interval '1 microsecond'
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id);
    elsif r.outcome = 'wait' then
      -- It concerns the number: the message keeps its place, however often. (Attempts only ever grow, or an old one could
      -- pass for the present one.)
      update bus.tasks t set worker = null, run_at = clock_timestamp(), errors = bus.note(t.errors, r.error)
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id);
      update public.messages m set status = r.status where m.organization_id = r.organization_id and m.id = r.message_id;
    else
      update public.messages m set status = r.status where m.organization_id = r.organization_id and m.id = r.message_id;
      perform bus.finish(jsonb_build_array(jsonb_build_object(
        'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt,
        'outcome', 'retry', 'after', r.after, 'error', r.error)));
      update public.messages m set status = jsonb_build_object('failed', now())
      where m.organization_id = r.organization_id and m.id = r.message_id
        and exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    end if;
    if r.holds then
      perform bus.hold_lane(r.organization_id, r.lane, r.lane_reason, r.lane_after, r.age, r.error);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION finish_unsent(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_unsent(p_results jsonb) IS 'The outcomes other than accepted: failed, retry, unknown (held for a receipt), wait (for the number), split (into several rows).';


--
-- Name: hold_lane(uuid, text, text, double precision, double precision, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  l bus.lanes;
begin
  select * into l from bus.lanes where organization_id = p_organization and lane = p_lane for update;
  -- Many sends in flight fail together: those that began before the last strike are the same strike.
  if not found or l.resume_at = 'infinity'
    or (l.strikes > 0 and clock_timestamp() - make_interval(secs => coalesce(p_age, 0)) <= l.updated_at) then
    return;
  end if;
  update bus.lanes set
    strikes = l.strikes + 1,
    resume_at = clock_timestamp() + make_interval(secs => coalesce(
      p_after,
      -- a paused number is tried again after 1, 2, 4 … minutes up to an hour; one that cannot be reached after seconds
      (0.5 + random() / 2) * case when p_reason is null then least(30, power(2, least(l.strikes, 10)))
                                  else least(3600, 60 * power(2, least(l.strikes, 10))) end)),
    paused_reason = p_reason,
    updated_at = clock_timestamp()
  where organization_id = p_organization and lane = p_lane;
  if p_reason is not null and l.paused_reason is distinct from p_reason then
    insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
    select a.organization_id, a.address, 'error', 'number', a.service, 'sending is paused: ' || p_reason, jsonb_build_object('error', p_error)
    from public.organizations_addresses a where a.organization_id = p_organization and a.address = p_lane;
  end if;
end
$$;


--
-- Name: FUNCTION hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text) IS 'Stops a number for a while: with a reason it is paused and the organization is told, without one it is only waited for.';


--
-- Name: hold_suspects(bus.claimed[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.hold_suspects(p_claimed bus.claimed[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- A receipt has settled it, or the row is gone.
  delete from bus.tasks t
  using unnest(p_claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
  where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
    and (m.id is null or m.external_id is not null or m.status ? 'failed');

  -- Waited long enough: a person decides.
  perform bus.fail_unknown(t.organization_id, t.id, t.subject::uuid)
  from bus.tasks t
  join unnest(p_claimed) c on (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id)
  join bus.queues q on q.queue = t.queue
  where t.held_since <= clock_timestamp() - q.hold;

  update bus.tasks t set
    held_since = coalesce(t.held_since, clock_timestamp()),
    run_at = coalesce(t.held_since, clock_timestamp()) + q.hold,
    errors = bus.note(t.errors, 'outcome unknown: the attempt ended without an answer; waiting for a receipt')
  from unnest(p_claimed) c, bus.queues q
  where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id) and q.queue = t.queue;
  perform bus.mark_unknown(c.organization_id, c.subject::uuid) from unnest(p_claimed) c;
end
$$;


--
-- Name: FUNCTION hold_suspects(p_claimed bus.claimed[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.hold_suspects(p_claimed bus.claimed[]) IS 'Sends that may have happened are not repeated: they wait for a receipt that carries our id, and are given up after the queue''s hold.';


--
-- Name: is_paused(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.is_paused(p_extra jsonb) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  -- What is no time still says that somebody wanted quiet.
  return p_extra ->> 'paused' is not null
    and coalesce(bus.as_time(p_extra ->> 'paused') > now() - interval '12 hours', true);
end
$$;


--
-- Name: FUNCTION is_paused(p_extra jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.is_paused(p_extra jsonb) IS 'Whether a conversation''s extra.paused is in force: for 12 hours from its time.';


--
-- Name: log_message(uuid, uuid, public.log_level, text, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
  select m.organization_id, m.organization_address, p_level, p_category, m.service, p_text,
    jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id) || coalesce(p_metadata, '{}')
  from public.messages m where m.organization_id = p_organization and m.id = p_message
$$;


--
-- Name: FUNCTION log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb) IS 'Tells the organization of something about a message.';


--
-- Name: mark_unknown(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.mark_unknown(p_organization uuid, p_message uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update public.messages m set status = jsonb_build_object('errors', jsonb_build_array(jsonb_build_object(
    'code', 'unknown_outcome', 'title', 'Outcome unknown',
    'message', 'The message was handed to WhatsApp, but no answer came. It is not sent again by itself; a receipt will settle it.')))
  where m.organization_id = p_organization and m.id = p_message and m.external_id is null
$$;


--
-- Name: next_look(text, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.next_look(p_queue text, p_worker uuid) RETURNS double precision
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
  -- Seconds until this loop must look again without having been rung for; null for never.
  select extract(epoch from least(
    -- the next task that becomes due, among them those whose lease may run out
    (select min(t.run_at) from bus.tasks t where t.queue = p_queue and t.run_at > clock_timestamp()),
    -- due tasks that nobody holds: another claim has them in its hands at this very moment
    (select clock_timestamp() + interval '20 ms'
     where exists (
       select
       -- not more than a few, or a broadcast that waits for its number would be walked through each time
       from (select * from bus.tasks d where d.queue = p_queue and d.run_at <= clock_timestamp() order by d.run_at limit 200) t
       left join bus.lanes l on l.organization_id = t.organization_id and l.lane = t.lane
       where (l.lane is null or bus.opens(l) <= clock_timestamp())
         and not exists (
           select from bus.tasks o
           where o.organization_id = t.organization_id and o.queue = t.queue and o.key = t.key
             and (o.due_at, o.id) < (t.due_at, t.id) and o.held_since is null))),
    -- a number whose pace or pause lets its next message go
    (select min(bus.opens(l)) from bus.lanes l
     where p_queue = 'dispatch' and bus.opens(l) > clock_timestamp() and bus.opens(l) < 'infinity'
       and exists (
         select from bus.tasks t
         where t.queue = p_queue and t.organization_id = l.organization_id and t.lane = l.lane and t.run_at <= clock_timestamp())),
    -- another loop that is awake: if it dies, nobody is rung for what was left to it
    (select min(a.until) + interval '10 ms' from bus.awake a
     where a.queue = p_queue and a.worker <> p_worker and a.until > clock_timestamp())
  ) - clock_timestamp())::float8
$$;


--
-- Name: FUNCTION next_look(p_queue text, p_worker uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.next_look(p_queue text, p_worker uuid) IS 'Last step of falling asleep: how many seconds the caller may sleep unless the bell rings. Null: until it rings.';


--
-- Name: note(jsonb, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.note(p_errors jsonb, p_error text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select jsonb_agg(e order by n) from (
    select e, n from jsonb_array_elements(
      coalesce(p_errors, '[]') || jsonb_build_array(jsonb_build_object('at', now(), 'error', left(p_error, 2000)))) with ordinality x (e, n)
    order by n desc limit 10) last
$$;


--
-- Name: FUNCTION note(p_errors jsonb, p_error text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.note(p_errors jsonb, p_error text) IS 'The last ten errors of a task, with their times.';


--
-- Name: lanes; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.lanes (
    organization_id uuid NOT NULL,
    lane text NOT NULL COLLATE pg_catalog."C",
    rate numeric DEFAULT 80 NOT NULL,
    tat timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    strikes integer DEFAULT 0 NOT NULL,
    resume_at timestamp with time zone,
    paused_reason text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT lanes_rate_check CHECK ((rate > (0)::numeric))
)
WITH (fillfactor='50');


--
-- Name: TABLE lanes; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.lanes IS 'Pace and health of each number, shared by all processes. Made with the address.';


--
-- Name: COLUMN lanes.rate; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.lanes.rate IS 'Messages a second that the number may send.';


--
-- Name: COLUMN lanes.tat; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.lanes.tat IS 'Theoretical arrival time of the next message (GCRA): a claim takes only as many as fit before now.';


--
-- Name: COLUMN lanes.strikes; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.lanes.strikes IS 'Failures in a row that concern the number and not a message; while there are any, one message at a time probes.';


--
-- Name: COLUMN lanes.resume_at; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.lanes.resume_at IS 'Nothing is claimed before this time; infinity waits for somebody to reconnect the number.';


--
-- Name: COLUMN lanes.paused_reason; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.lanes.paused_reason IS 'Why, in words for an operator.';


--
-- Name: opens(bus.lanes); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.opens(l bus.lanes) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select greatest(l.tat - interval '25 ms', coalesce(l.resume_at, '-infinity'))
$$;


--
-- Name: FUNCTION opens(l bus.lanes); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.opens(l bus.lanes) IS 'When the lane lets its next message go.';


--
-- Name: park(jsonb, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.park(p_event jsonb, p_reason text, p_detail text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into bus.parked (journal_id, organization_id, address, reason, detail, raw)
  select (p_event ->> 'journal')::bigint, (p_event ->> 'organization_id')::uuid, p_event ->> 'address', p_reason, coalesce(p_detail, ''), p_event -> 'raw'
  where exists (select from bus.journal j where j.id = (p_event ->> 'journal')::bigint)
$$;


--
-- Name: poll(uuid, text[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.poll(p_worker uuid, p_queues text[]) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform pg_notify('bus', 'echo ' || p_worker);
  perform bus.prune();
  return query
  select q from unnest(p_queues) q
  where exists (select from bus.tasks t where t.queue = q and t.run_at <= clock_timestamp());
end
$$;


--
-- Name: FUNCTION poll(p_worker uuid, p_queues text[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.poll(p_worker uuid, p_queues text[]) IS 'The safety net, once a minute: which queues have due work, and a bell to ourselves that must come back, or the listening connection is dead. Prunes by the way.';


--
-- Name: prune(); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.prune() RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
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
  delete from bus.pairs where (organization_id, key) in (select p.organization_id, p.key from bus.pairs p where p.tat < now() limit 2000);
$$;


--
-- Name: FUNCTION prune(); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.prune() IS 'Forgets journal entries that are done and older than the hold of the queue intake (14 days), receipts as old whose message never came, and the pace of pairs that are quiet.';


--
-- Name: quiet(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.quiet(p_horizon text, OUT horizon text, OUT settled boolean) RETURNS record
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select coalesce(p_horizon, pg_snapshot_xmax(pg_current_snapshot())::text),
    pg_snapshot_xmin(pg_current_snapshot()) >= coalesce(p_horizon::xid8, pg_snapshot_xmax(pg_current_snapshot()))
$$;


--
-- Name: FUNCTION quiet(p_horizon text, OUT horizon text, OUT settled boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.quiet(p_horizon text, OUT horizon text, OUT settled boolean) IS 'Whether every transaction that may have seen the caller awake has ended. The first call, with null, sets the horizon for the following. Ask before the last look, not after.';


--
-- Name: release(text, uuid, bigint[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.release(p_queue text, p_worker uuid, p_keep bigint[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION release(p_queue text, p_worker uuid, p_keep bigint[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.release(p_queue text, p_worker uuid, p_keep bigint[]) IS 'Gives back what the worker claimed and never began: at shutdown, and after a lost connection swallowed the answer to a claim. p_keep: what it has in hand.';


--
-- Name: renew(text, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.renew(p_queue text, p_worker uuid, p_tasks jsonb) RETURNS TABLE(id bigint, attempt integer, version integer)
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  return query
  update bus.tasks t set run_at = clock_timestamp() + q.lease
  from bus.queues q, jsonb_to_recordset(p_tasks) as r (organization_id uuid, key text, id bigint, attempt int)
  where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, p_queue, r.key, r.id, r.attempt)
    and q.queue = p_queue and t.worker = p_worker
  returning t.id, t.attempt, t.version;
end
$$;


--
-- Name: FUNCTION renew(p_queue text, p_worker uuid, p_tasks jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.renew(p_queue text, p_worker uuid, p_tasks jsonb) IS 'The heartbeat: extends the leases of running tasks. Who is not in the answer has lost its task; whose version is higher is outdated.';


--
-- Name: replay_dead(text, bigint[], timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.replay_dead(p_queue text DEFAULT NULL::text, p_ids bigint[] DEFAULT NULL::bigint[], p_since timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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
  -- A message that was given up is pending again.
  update public.messages m set status = '{"failed": null, "errors": null}'
  from unnest(back) b
  where b.queue = 'dispatch' and m.organization_id = b.organization_id and m.id = b.subject::uuid and m.status ? 'failed';
  for q in select distinct b.queue from unnest(back) b loop
    perform bus.ring(q);
  end loop;
  return cardinality(back);
end
$$;


--
-- Name: FUNCTION replay_dead(p_queue text, p_ids bigint[], p_since timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.replay_dead(p_queue text, p_ids bigint[], p_since timestamp with time zone) IS 'Puts tasks that were given up back into their queues. Returns how many.';


--
-- Name: replay_parked(text, bigint[], timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.replay_parked(p_address text DEFAULT NULL::text, p_ids bigint[] DEFAULT NULL::bigint[], p_since timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION replay_parked(p_address text, p_ids bigint[], p_since timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.replay_parked(p_address text, p_ids bigint[], p_since timestamp with time zone) IS 'Takes parked items back: their journal entries go through intake again, which changes nothing that is stored already. Returns how many items.';


--
-- Name: rest(text, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.rest(p_queue text, p_worker uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  delete from bus.awake where queue = p_queue and (worker = p_worker or until < clock_timestamp() - interval '1 minute')
$$;


--
-- Name: FUNCTION rest(p_queue text, p_worker uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.rest(p_queue text, p_worker uuid) IS 'Says that this loop is about to sleep. First step of falling asleep; must be committed before bus.quiet is asked.';


--
-- Name: ring(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.ring(p_queue text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION ring(p_queue text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.ring(p_queue text) IS 'Wakes the loops of a queue, when none is awake anyway. Reads one tiny table, locks nothing. alter database … set tidings.bell = off silences it.';


--
-- Name: room(bus.lanes, timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.room(l bus.lanes, p_now timestamp with time zone) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  -- GCRA with 25 ms of tolerance. The 4 % keep any one second at or below the rate, wherever it begins.
  select case
    when bus.opens(l) > p_now then 0
    when l.strikes > 0 then 1
    else floor(least(1000000, extract(epoch from p_now + interval '25 ms' - greatest(l.tat, p_now)) * l.rate / 1.04))::int + 1
  end
$$;


--
-- Name: FUNCTION room(l bus.lanes, p_now timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.room(l bus.lanes, p_now timestamp with time zone) IS 'How many messages the lane may send now. One, as a probe, after a failure that concerned the number.';


--
-- Name: route(public.service, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.route(p_service public.service, p_address text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into bus.numbers as n (service, address, organization_id)
  select a.service, a.address, a.organization_id
  from public.organizations_addresses a
  where a.service = p_service and a.address = p_address and a.status = 'connected'
  order by a.updated_at desc limit 1
  on conflict (service, address) do update set organization_id = excluded.organization_id;
  if not found then
    delete from bus.numbers where service = p_service and address = p_address;
  end if;
end
$$;


--
-- Name: FUNCTION route(p_service public.service, p_address text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.route(p_service public.service, p_address text) IS 'Points the directory at the organization that holds the address, for when the one it points at let go of it.';


--
-- Name: settle_unknown(uuid, uuid, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  buried boolean;
begin
  delete from bus.dead d
  where d.organization_id = p_organization and d.queue = 'dispatch' and d.subject = p_message::text;
  buried := found;
  -- A task in somebody's hands is left to that worker, who will have the same answer from the provider itself.
  delete from bus.tasks t
  using public.messages m
  where m.organization_id = p_organization and m.id = p_message
    and t.organization_id = p_organization and t.queue = 'dispatch' and t.key = m.conversation_id::text
    and t.subject = p_message::text and t.worker is not null and (t.held_since is not null or t.run_at <= clock_timestamp());
  update public.messages m set
    external_id = p_external_id,
    status = case when found or buried then '{"errors": null}'::jsonb else '{}' end
      || case when buried then '{"failed": null}'::jsonb else '{}' end || p_status
  where m.organization_id = p_organization and m.id = p_message;
end
$$;


--
-- Name: FUNCTION settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) IS 'A receipt proves that a message went out: gives it its external_id and ends the wait, or the funeral.';


--
-- Name: split_message(uuid, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.split_message(p_organization uuid, p_message uuid, p_parts jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  count int := jsonb_array_length(p_parts);
begin
  -- The parts take the microseconds before the row's time: a row that was inserted together with it, and has the same
  -- time, stays behind all of them.
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, thread_id, content, "timestamp")
  select m.organization_id, m.conversation_id, m.direction, m.agent_id, m.contact_address, m.service, m.organization_address,
    m.group_address, m.thread_id, (m.content - 're_message_id') || jsonb_build_object('text', p.text),
    m."timestamp" - (count - p.n + 1) * interval '1 microsecond'
  from public.messages m, jsonb_array_elements_text(p_parts) with ordinality p (text, n)
  where m.organization_id = p_organization and m.id = p_message and p.n > 1
  order by p.n;
  update public.messages m set
    content = jsonb_build_object('text', p_parts ->> 0),
    "timestamp" = m."timestamp" - count * interval '1 microsecond'
  where m.organization_id = p_organization and m.id = p_message;
end
$$;


--
-- Name: FUNCTION split_message(p_organization uuid, p_message uuid, p_parts jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.split_message(p_organization uuid, p_message uuid, p_parts jsonb) IS 'A text longer than the channel takes becomes several rows, one for each message on the phone; the row itself keeps the first part.';


--
-- Name: status(); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.status() RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION status(); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.status() IS 'Depth, age and failures of every queue, the journal, and the health of every number. What tidings status and /metrics show.';


--
-- Name: store_contacts(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_contacts(p_events jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into public.contacts_addresses as a (organization_id, service, address, extra)
  select distinct on (e.organization_id, e.contact) e.organization_id, e.service, e.contact, e.extra
  from jsonb_to_recordset(p_events) as e (type text, organization_id uuid, service public.service, contact text, extra jsonb, n bigint)
  where e.type = 'contact'
  order by e.organization_id, e.contact, e.n desc
  on conflict (organization_id, service, address) do update set extra = excluded.extra
  where a.extra is null or not a.extra @> excluded.extra
$$;


--
-- Name: store_events(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_events(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform bus.store_contacts(p_events);
  perform bus.store_messages(p_events);
  perform bus.store_statuses(p_events);
end
$$;


--
-- Name: store_messages(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_messages(p_events jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into public.messages (organization_id, service, organization_address, contact_address, external_id, direction, content, "timestamp")
  select e.organization_id, e.service, e.address, e.contact, e.external_id, 'incoming', e.content, e."timestamp"
  from (
    select distinct on (x.organization_id, x.address, x.external_id) x.*
    from jsonb_to_recordset(p_events) as x (
      type text, organization_id uuid, service public.service, address text, contact text, external_id text,
      content jsonb, "timestamp" timestamptz, n bigint)
    where x.type = 'message'
    order by x.organization_id, x.address, x.external_id, x.n
  ) e
  -- Asked first: a repeated event must not even make a conversation.
  where not exists (
    select from public.messages m
    where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id))
  order by e.organization_id, e.contact, e."timestamp", e.n
  on conflict (organization_id, organization_address, external_id) where external_id is not null do nothing
$$;


--
-- Name: FUNCTION store_messages(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_messages(p_events jsonb) IS 'Stores incoming messages, each once however often it is delivered.';


--
-- Name: store_statuses(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_statuses(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  s record;
  m record;
begin
  -- One message's receipts together, in an order that is the same for everyone.
  for s in
    select g.organization_id, g.address, g.external_id, max(g.message_id)::uuid as message_id,
      jsonb_object_agg(g.state, g.at)
        || case when count(g.errors) = 0 then '{}' else jsonb_build_object('errors', (array_agg(g.errors) filter (where g.errors is not null))[1]) end as status
    from (
      select e.organization_id, e.address, e.external_id, e.state, min(e."timestamp") as at, max(e.message_id) as message_id,
        (array_agg(e.errors) filter (where e.errors is not null))[1] as errors
      from jsonb_to_recordset(p_events) as e (
        type text, organization_id uuid, address text, external_id text, message_id text, state text, "timestamp" timestamptz, errors jsonb)
      where e.type = 'status'
      group by e.organization_id, e.address, e.external_id, e.state
    ) g
    group by g.organization_id, g.address, g.external_id
    order by g.organization_id, g.address, g.external_id
  loop
    select x.id, x.external_id, x.status, x.direction into m from public.messages x
    where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
    if not found and s.message_id is not null then
      -- Our own id, which the send carried: settles an attempt whose answer was lost.
      select x.id, x.external_id, x.status, x.direction into m from public.messages x
      where x.organization_id = s.organization_id and x.id = s.message_id and x.organization_address = s.address
        and x.direction = 'outgoing' and x.external_id is null;
    end if;
    if not found then
      perform pg_advisory_xact_lock(hashtextextended(s.address || ' ' || s.external_id, 0));
      select x.id, x.external_id, x.status, x.direction into m from public.messages x
      where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
      if not found then
        insert into bus.orphans as o (organization_id, organization_address, external_id, status)
        values (s.organization_id, s.address, s.external_id, s.status)
        on conflict (organization_id, organization_address, external_id) do update
          set status = public.merge_status(o.status, excluded.status, 'outgoing');
        continue;
      end if;
    end if;
    if m.external_id is null then
      perform bus.settle_unknown(s.organization_id, m.id, s.external_id, s.status);
    elsif public.merge_status(m.status, s.status, 'outgoing') is distinct from m.status then
      update public.messages x set status = s.status where x.organization_id = s.organization_id and x.id = m.id;
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION store_statuses(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_statuses(p_events jsonb) IS 'Applies receipts to their messages, found by the provider''s id or by ours; those without a message wait in bus.orphans. Repeating one changes nothing.';


--
-- Name: wake(text, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.wake(p_queue text, p_worker uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  moment timestamptz := clock_timestamp();
begin
  if not exists (select from bus.awake a where a.queue = p_queue and a.worker = p_worker and a.until > moment + interval '1 s') then
    insert into bus.awake (queue, worker, until) values (p_queue, p_worker, moment + interval '2 s')
    on conflict (queue, worker) do update set until = excluded.until;
  end if;
end
$$;


--
-- Name: FUNCTION wake(p_queue text, p_worker uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.wake(p_queue text, p_worker uuid) IS 'Says that this loop looks by itself for the next two seconds.';


--
-- Name: after_delete_on_organizations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_delete_on_organizations() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  delete from bus.tasks where organization_id = old.id;
  delete from bus.dead where organization_id = old.id;
  delete from bus.pairs where organization_id = old.id;
  delete from bus.parked where organization_id = old.id;
  return null;
end
$$;


--
-- Name: FUNCTION after_delete_on_organizations(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_delete_on_organizations() IS 'What the bus holds for an organization goes with it; the rest goes by foreign keys.';


--
-- Name: after_insert_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_insert_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  moment timestamptz := clock_timestamp();
begin
  -- Outgoing rows go to dispatch. Templates and whatever comes by the dozen are broadcasts: they let answers pass.
  insert into bus.tasks (queue, organization_id, key, lane, subject, priority, due_at, run_at)
  select 'dispatch', n.organization_id, n.conversation_id::text, n.organization_address, n.id::text,
    case when n.content ->> 'kind' = 'template' or count(*) over (partition by n.organization_id) > 10 then 1 else 0 end,
    n."timestamp", greatest(n."timestamp", moment)
  from inserted n
  where n.direction = 'outgoing' and n.service <> 'local' and n.status ? 'pending' and n.external_id is null
  order by n."timestamp", n.id;
  if found then
    perform bus.ring('dispatch');
  end if;

  -- Incoming rows ask for an answer: one task for each conversation, moved by each further message.
  insert into bus.tasks as t (queue, organization_id, key, subject, single, due_at, run_at)
  select distinct on (n.organization_id, n.conversation_id)
    'agent', n.organization_id, n.conversation_id::text, n.id::text, true, moment + d.delay, moment + d.delay
  from inserted n
  join public.organizations o on o.id = n.organization_id
  cross join lateral (
    select make_interval(secs => case when jsonb_typeof(o.extra -> 'response_delay_seconds') = 'number'
      then greatest(0, least(3600, (o.extra ->> 'response_delay_seconds')::numeric)) else 3 end::float8) as delay) d
  where n.direction = 'incoming' and n.status ? 'pending'
  order by n.organization_id, n.conversation_id, n."timestamp" desc, n.id desc
  on conflict (organization_id, queue, key) where single do update set
    version = t.version + 1,
    subject = excluded.subject,
    due_at = excluded.due_at,
    -- A running one keeps its lease and learns from the version. A waiting one waits for the burst to end, but not for ever.
    run_at = case when t.worker is not null and t.run_at > moment then t.run_at
                  else greatest(moment, least(excluded.run_at, t.created_at + interval '30 s' + 2 * (excluded.run_at - moment))) end;
  if found then
    perform bus.ring('agent');
  end if;

  -- A person has taken over: a human agent wrote, or the business did on its phone (an echo comes without pending).
  update public.conversations c set extra = jsonb_build_object('paused', moment)
  from (
    select distinct n.organization_id, n.conversation_id
    from inserted n
    left join public.agents a on a.organization_id = n.organization_id and a.id = n.agent_id
    where n.direction = 'outgoing' and n.service <> 'local' and n."timestamp" <= moment + interval '1 minute'
      and ((a.ai = false and n.status ? 'pending')
        or (n.agent_id is null and not n.status ? 'pending' and n."timestamp" > moment - interval '1 minute'))
  ) n
  where c.organization_id = n.organization_id and c.id = n.conversation_id;

  -- Receipts that were here first.
  perform bus.adopt_orphans(n.organization_id, n.organization_address, n.external_id)
  from inserted n
  where n.direction = 'outgoing' and n.external_id is not null;
  return null;
end
$$;


--
-- Name: FUNCTION after_insert_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_insert_on_messages() IS 'Once per statement: tasks for dispatch and agent in the same transaction, the pause when a person takes over, receipts that came early.';


--
-- Name: after_insert_on_organizations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_insert_on_organizations() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
  insert into public.organizations_addresses (organization_id, service, address) values (new.id, 'local', new.id::text);
  if claims ->> 'role' = 'authenticated' and claims ? 'sub' then
    insert into public.agents (organization_id, user_id, name, ai, extra)
    select new.id, u.id, coalesce(u.raw_user_meta_data ->> 'full_name', u.email, '?'), false, '{"role": "owner"}'
    from auth.users u where u.id = (claims ->> 'sub')::uuid;
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_insert_on_organizations(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_insert_on_organizations() IS 'Every organization has a local address (its id) for chats inside it. A signed-in user who makes one owns it.';


--
-- Name: after_read_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_read_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('receipts', new.organization_id, new.id::text, new.id::text, true)
  on conflict (organization_id, queue, key) where single do update
    set version = t.version + 1, run_at = case when t.worker is not null then t.run_at else clock_timestamp() end;
  perform bus.ring('receipts');
  return null;
end
$$;


--
-- Name: FUNCTION after_read_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_read_on_messages() IS 'Writing read or typing into an incoming row asks for a read receipt or a typing indicator.';


--
-- Name: after_unlink_on_contacts_addresses(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_unlink_on_contacts_addresses() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  delete from public.contacts_addresses a
  where (a.organization_id, a.service, a.address) = (new.organization_id, new.service, new.address)
    and not exists (
      select from public.conversations c
      where c.organization_id = a.organization_id and c.service = a.service and c.contact_address = a.address);
  return null;
end
$$;


--
-- Name: FUNCTION after_unlink_on_contacts_addresses(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_unlink_on_contacts_addresses() IS 'An address that somebody entered by hand and nobody wrote from goes when it is unlinked.';


--
-- Name: after_write_organizations_addresses(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_write_organizations_addresses() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  was text := case when tg_op = 'UPDATE' then old.status end;
begin
  if tg_op = 'DELETE' then
    -- During the deletion of the organization itself the directory row is gone by its own foreign key.
    perform bus.route(old.service, old.address)
    from bus.numbers n where n.service = old.service and n.address = old.address and n.organization_id = old.organization_id;
    delete from bus.lanes where organization_id = old.organization_id and lane = old.address;
    return null;
  end if;

  if new.status = 'connected' and was is distinct from 'connected' then
    -- Intake takes it, shared, before it parks something for a number that it does not know.
    perform pg_advisory_xact_lock(hashtextextended('number ' || new.address, 0));
    insert into bus.numbers (service, address, organization_id) values (new.service, new.address, new.organization_id)
    on conflict (service, address) do update set organization_id = excluded.organization_id;
    perform bus.replay_parked(p_address => new.address);
  elsif new.status <> 'connected' and was = 'connected' then
    perform bus.route(new.service, new.address)
    from bus.numbers n where n.service = new.service and n.address = new.address and n.organization_id = new.organization_id;
  end if;

  -- A number that was connected again, or got another token, may send again.
  insert into bus.lanes as l (organization_id, lane, resume_at, paused_reason)
  values (new.organization_id, new.address,
          case when new.status <> 'connected' then 'infinity'::timestamptz end,
          case when new.status <> 'connected' then 'the number is ' || new.status end)
  on conflict (organization_id, lane) do update
    set resume_at = excluded.resume_at, paused_reason = excluded.paused_reason, strikes = 0, updated_at = now();
  perform bus.ring('dispatch');
  return null;
end
$$;


--
-- Name: FUNCTION after_write_organizations_addresses(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_write_organizations_addresses() IS 'Keeps the directory (the last to connect an address gets its traffic) and the lane, and replays what came in while nobody had the address.';


--
-- Name: before_delete_on_agents(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_delete_on_agents() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.messages set agent_id = null where organization_id = old.organization_id and agent_id = old.id;
  return old;
end
$$;


--
-- Name: FUNCTION before_delete_on_agents(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_delete_on_agents() IS 'Messages of a deleted agent stay, without their author.';


--
-- Name: before_delete_on_contacts(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_delete_on_contacts() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.contacts_addresses set contact_id = null
  where organization_id = old.organization_id and contact_id = old.id;
  return old;
end
$$;


--
-- Name: FUNCTION before_delete_on_contacts(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_delete_on_contacts() IS 'Deleting a contact keeps its addresses, unlinked: their conversations stay.';


--
-- Name: before_insert_on_conversations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_insert_on_conversations() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if new.service <> 'local' and new.contact_address is null and new.group_address is null then
    raise exception 'conversations.contact_address or group_address is required for service %', new.service
      using errcode = '23502';
  end if;
  if new.contact_address is not null then
    insert into public.contacts_addresses (organization_id, service, address)
    values (new.organization_id, new.service, new.contact_address)
    on conflict do nothing;
  end if;
  return new;
end
$$;


--
-- Name: FUNCTION before_insert_on_conversations(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_insert_on_conversations() IS 'Makes the contact''s address where it does not exist yet, whoever is first.';


--
-- Name: before_insert_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_insert_on_messages() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c public.conversations;
begin
  perform public.check_content(new.content, new.direction);
  if new.conversation_id is null then
    if new.service <> 'local' and new.contact_address is null and new.group_address is null then
      perform public.refuse_content('contact_address', 'is missing (or give group_address or conversation_id)');
    end if;
    new.conversation_id := public.conversation_for(
      new.organization_id, new.service, new.organization_address, new.contact_address, new.group_address);
  else
    -- The foreign key keeps the row within its organization; these keep its copies of the conversation's columns true.
    select * into c from public.conversations where organization_id = new.organization_id and id = new.conversation_id;
    if not found then
      raise exception 'messages.conversation_id: organization % has no conversation %', new.organization_id, new.conversation_id
        using errcode = '23503';
    end if;
    if new.organization_address <> c.organization_address then
      perform public.refuse_content('organization_address', 'is not the conversation''s');
    elsif new.service <> c.service then
      perform public.refuse_content('service', 'is not the conversation''s');
    end if;
    if c.group_address is null then
      new.contact_address := coalesce(new.contact_address, c.contact_address);
      if new.contact_address is distinct from c.contact_address and c.contact_address is not null then
        perform public.refuse_content('contact_address', 'is not the conversation''s');
      end if;
    end if;
    new.group_address := coalesce(new.group_address, c.group_address);
    if new.group_address is distinct from c.group_address then
      perform public.refuse_content('group_address', 'is not the conversation''s');
    end if;
  end if;
  if new.service = 'local' and new.direction = 'outgoing' and new.status ? 'pending' then
    new.status := new.status || jsonb_build_object('delivered', now());
  end if;
  return new;
end
$$;


--
-- Name: FUNCTION before_insert_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_insert_on_messages() IS 'Checks the content, finds or makes the conversation, and delivers local messages on the spot.';


--
-- Name: before_update_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_update_on_messages() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
begin
  new.direction := old.direction;
  if new.content is distinct from old.content then
    if new.content is null or jsonb_typeof(new.content) <> 'object' then
      new.content := old.content;
    else
      new.content := public.merge_update_jsonb(old.content, '{}', new.content);
    end if;
  end if;
  if new.status is distinct from old.status then
    if new.status is null or jsonb_typeof(new.status) <> 'object' then
      new.status := old.status;
    elsif not jsonb_path_exists(new.status, '$.* ? (@ == null)') and not old.status ?| array(select jsonb_object_keys(new.status)) then
      new.status := old.status || new.status;
    else
      new.status := public.merge_status(old.status, new.status, old.direction);
    end if;
  end if;
  new.updated_at := now();
  return new;
end
$_$;


--
-- Name: FUNCTION before_update_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_update_on_messages() IS 'Direction never changes; content and status merge. What is no object is ignored.';


--
-- Name: before_write_agents(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_agents() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.organization_id, 'agents', new.id::text, new.extra);
  end if;
  return new;
end
$$;


--
-- Name: before_write_organizations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_organizations() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.id, 'organizations', new.id::text, new.extra);
  end if;
  return new;
end
$$;


--
-- Name: before_write_organizations_addresses(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_organizations_addresses() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.organization_id, 'organizations_addresses', new.address, new.extra);
  end if;
  return new;
end
$$;


--
-- Name: before_write_webhooks(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_webhooks() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  before text := case when tg_op = 'UPDATE' then old.token end;
begin
  if new.token is distinct from before then
    new.token := secrets.take(new.organization_id, 'webhooks', new.id::text, jsonb_build_object('token', new.token)) ->> 'token';
  end if;
  new.updated_at := now();
  return new;
end
$$;


--
-- Name: check_content(jsonb, public.direction); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_content(p_content jsonb, p_direction public.direction) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
declare
  kind text := p_content ->> 'kind';
begin
  if p_content is null or jsonb_typeof(p_content) <> 'object' then
    perform public.refuse_content('content', 'must be a JSON object');
  end if;
  perform public.require_string(p_content, '{version}');
  if p_content ->> 'version' <> '1' then
    perform public.refuse_content('content.version', 'must be "1"');
  end if;
  perform public.require_string(p_content, '{type}');
  perform public.require_string(p_content, '{kind}');
  if p_content ? 're_message_id' and jsonb_typeof(p_content -> 're_message_id') <> 'null' then
    perform public.require_string(p_content, '{re_message_id}');
  end if;

  case p_content ->> 'type'
    when 'text' then
      perform public.require_string(p_content, '{text}', p_empty => p_direction <> 'outgoing' or kind = 'reaction');
      if p_direction = 'outgoing' and kind = 'reaction' then
        perform public.require_string(p_content, '{re_message_id}');
      end if;
    when 'file' then
      perform public.require_string(p_content, '{file,uri}');
      perform public.require_string(p_content, '{file,mime_type}');
    when 'data' then
      if p_content -> 'data' is null then
        perform public.refuse_content('content.data', 'is missing');
      end if;
      if p_direction = 'outgoing' and kind = 'template' then
        perform public.require_string(p_content, '{data,name}');
        perform public.require_string(p_content, '{data,language,code}');
      elsif p_direction = 'outgoing' and kind = 'location' then
        if p_content #> '{data,latitude}' is null then
          perform public.refuse_content('content.data.latitude', 'is missing');
        elsif p_content #> '{data,longitude}' is null then
          perform public.refuse_content('content.data.longitude', 'is missing');
        end if;
      elsif p_direction = 'outgoing' and kind = 'contacts' and jsonb_typeof(p_content -> 'data') <> 'array' then
        perform public.refuse_content('content.data', 'must be an array of contacts');
      end if;
    else
      perform public.refuse_content('content.type', 'must be "text", "file" or "data"');
  end case;
end
$$;


--
-- Name: FUNCTION check_content(p_content jsonb, p_direction public.direction); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.check_content(p_content jsonb, p_direction public.direction) IS 'Refuses (23514) content that breaks the model, or that WhatsApp would surely refuse, with a message that names the field.';


--
-- Name: conversation_for(uuid, public.service, text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  found_id uuid;
begin
  -- Two turns suffice: whoever loses the race to insert finds the winner's row, committed, on the second.
  for i in 1..3 loop
    if p_group is not null then
      select c.id into found_id from public.conversations c
      where c.organization_id = p_organization and c.service = p_service and c.organization_address = p_address
        and c.group_address = p_group and c.status = 'active';
    elsif p_contact is not null then
      select c.id into found_id from public.conversations c
      where c.organization_id = p_organization and c.service = p_service and c.organization_address = p_address
        and c.contact_address = p_contact and c.group_address is null and c.status = 'active';
    else
      select c.id into found_id from public.conversations c
      where c.organization_id = p_organization and c.service = p_service and c.organization_address = p_address
        and c.contact_address is null and c.group_address is null and c.status = 'active'
      order by c.created_at desc limit 1;
    end if;
    if found_id is not null then
      return found_id;
    end if;
    if not exists (select from public.organizations_addresses a
                   where a.organization_id = p_organization and a.address = p_address and a.service = p_service) then
      raise exception 'messages.organization_address: % is no % address of organization %', p_address, p_service, p_organization
        using errcode = '23503', hint = 'Insert it into organizations_addresses first.';
    end if;
    insert into public.conversations (organization_id, service, organization_address, contact_address, group_address)
    values (p_organization, p_service, p_address, case when p_group is null then p_contact end, p_group)
    on conflict do nothing
    returning id into found_id;
    if found_id is not null then
      return found_id;
    end if;
  end loop;
  raise exception 'no conversation could be made for % and %', p_address, coalesce(p_group, p_contact);
end
$$;


--
-- Name: FUNCTION conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text) IS 'The active conversation of a pair (or group) within one organization, made if there is none. Safe for any number of first messages at once.';


--
-- Name: merge_extra(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.merge_extra() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- An update that says nothing of extra comes with the old value: merging it again would be work for nothing.
  if new.extra is distinct from old.extra and new.extra is not null and old.extra is not null then
    new.extra := public.merge_update_jsonb(old.extra, '{}', new.extra);
  end if;
  new.updated_at := now();
  return new;
end
$$;


--
-- Name: FUNCTION merge_extra(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.merge_extra() IS 'Before-update trigger: merges the new extra into the old one. SQL null clears the column.';


--
-- Name: merge_status(jsonb, jsonb, public.direction); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.merge_status(p_old jsonb, p_new jsonb, p_direction public.direction) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  result jsonb := p_old;
  k text;
  v jsonb;
begin
  for k, v in select * from jsonb_each(p_new) loop
    if jsonb_typeof(v) = 'null' then
      result := result - k;
    elsif p_direction = 'outgoing' and jsonb_typeof(v) = 'string' and jsonb_typeof(result -> k) = 'string'
      and (result ->> k)::timestamptz <= (v #>> '{}')::timestamptz then
      continue;
    else
      result := result || jsonb_build_object(k, v);
    end if;
  end loop;
  return result;
exception when data_exception then
  return p_old || p_new;
end
$$;


--
-- Name: FUNCTION merge_status(p_old jsonb, p_new jsonb, p_direction public.direction); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.merge_status(p_old jsonb, p_new jsonb, p_direction public.direction) IS 'The new states added to the old: an outgoing message keeps the earliest time of a state, an incoming one (read, typing: requests) the latest; null removes.';


--
-- Name: merge_update_jsonb(jsonb, text[], jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.merge_update_jsonb(target jsonb, path text[], object jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  base jsonb := target #> path;
  k text;
  v jsonb;
begin
  if jsonb_typeof(object) <> 'object' then
    return case when path = '{}' then target else jsonb_set(target, path, object) end;
  end if;
  if base is null or jsonb_typeof(base) <> 'object' then
    base := '{}';
  end if;
  for k, v in select * from jsonb_each(object) loop
    if jsonb_typeof(v) = 'null' then
      base := base - k;
    elsif jsonb_typeof(v) = 'object' then
      base := jsonb_set(base, array[k], public.merge_update_jsonb(coalesce(base -> k, '{}'), '{}', v));
    else
      base := jsonb_set(base, array[k], v);
    end if;
  end loop;
  return case when path = '{}' then base else jsonb_set(target, path, base) end;
end
$$;


--
-- Name: FUNCTION merge_update_jsonb(target jsonb, path text[], object jsonb); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.merge_update_jsonb(target jsonb, path text[], object jsonb) IS 'target with object merged in at path: objects merge key by key, a JSON null removes the key, everything else replaces. What updates of extra and content do.';


--
-- Name: refuse_content(text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_content(p_field text, p_problem text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
  raise exception 'messages.% %', p_field, p_problem
    using errcode = '23514', schema = 'public', table = 'messages', constraint = 'messages_content_schema';
end
$$;


--
-- Name: FUNCTION refuse_content(p_field text, p_problem text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.refuse_content(p_field text, p_problem text) IS 'Refuses a message row, naming the field. SQLSTATE 23514.';


--
-- Name: require_string(jsonb, text[], boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.require_string(p_content jsonb, p_path text[], p_empty boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
declare
  field text := 'content.' || array_to_string(p_path, '.');
begin
  if p_content #> p_path is null then
    perform public.refuse_content(field, 'is missing');
  elsif jsonb_typeof(p_content #> p_path) <> 'string' then
    perform public.refuse_content(field, 'must be a string');
  elsif not p_empty and p_content #>> p_path = '' then
    perform public.refuse_content(field, 'must not be empty');
  end if;
end
$$;


--
-- Name: set_updated_at(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  new.updated_at := now();
  return new;
end
$$;


--
-- Name: FUNCTION set_updated_at(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.set_updated_at() IS 'Before-update trigger of tables without extra.';


--
-- Name: write_api_keys(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.write_api_keys() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'DELETE' then
    delete from secrets.api_keys where organization_id = old.organization_id and id = old.id;
    return old;
  end if;
  if tg_op = 'UPDATE' then
    if new.key <> old.key or new.organization_id <> old.organization_id or new.id <> old.id then
      raise exception 'api_keys.key cannot be changed; delete it and make another' using errcode = '22023';
    end if;
    update secrets.api_keys set name = new.name, role = new.role, updated_at = now()
    where organization_id = old.organization_id and id = old.id;
    return new;
  end if;
  new.id := coalesce(new.id, public.uuid_v7());
  new.key := coalesce(new.key, 'sk_' || replace(gen_random_uuid()::text, '-', ''));
  if length(new.key) < 20 then
    raise exception 'api_keys.key is too short: 20 characters or more, or leave it out to have one made' using errcode = '23514';
  end if;
  insert into secrets.api_keys (organization_id, id, role, name, prefix, hash)
  values (new.organization_id, new.id, coalesce(new.role, 'member'), new.name, left(new.key, 7), sha256(convert_to(new.key, 'UTF8')))
  returning created_at, updated_at into new.created_at, new.updated_at;
  insert into secrets.api_key_owners (hash, organization_id, id)
  values (sha256(convert_to(new.key, 'UTF8')), new.organization_id, new.id);
  return new;
end
$$;


--
-- Name: FUNCTION write_api_keys(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.write_api_keys() IS 'Stores the hash of a new key and hands the key back in the row the insert returns.';


--
-- Name: messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.messages (
    organization_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    external_id text,
    direction public.direction NOT NULL,
    agent_id uuid,
    contact_address text,
    service public.service NOT NULL,
    organization_address text NOT NULL,
    group_address text,
    thread_id text,
    content jsonb NOT NULL,
    status jsonb DEFAULT jsonb_build_object('pending', now()) NOT NULL,
    "timestamp" timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT messages_content_schema CHECK (COALESCE(((jsonb_typeof(content) = 'object'::text) AND ((content ->> 'version'::text) = '1'::text) AND ((content ->> 'type'::text) = ANY (ARRAY['text'::text, 'file'::text, 'data'::text])) AND ((content ->> 'kind'::text) <> ''::text)), false)),
    CONSTRAINT messages_status_object CHECK ((jsonb_typeof(status) = 'object'::text)),
    CONSTRAINT messages_timestamp_finite CHECK (isfinite("timestamp"))
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.05');


--
-- Name: TABLE messages; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.messages IS 'Every message in and out. Inserting an outgoing row sends it; inserting an incoming one asks the agent for an answer; the outcome is written back to status.';


--
-- Name: COLUMN messages.external_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.messages.external_id IS 'The provider''s id (wamid …), unique within the organization''s address; null until the provider accepted the message.';


--
-- Name: COLUMN messages.content; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.messages.content IS '{"version":"1","type":"text"|"file"|"data","kind":…,…}: one part per message.';


--
-- Name: COLUMN messages.status; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.messages.status IS 'Map of state to time: pending, accepted, sent, delivered, read, failed (with errors) …. It only grows; a row inserted without pending is inert.';


--
-- Name: COLUMN messages."timestamp"; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.messages."timestamp" IS 'The provider''s time for what came in. On an outgoing row a future value schedules the message.';


--
-- Name: insert_messages(text, jsonb, boolean); Type: FUNCTION; Schema: rest; Owner: -
--

CREATE FUNCTION rest.insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean) RETURNS SETOF public.messages
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  owner uuid;
  rows_in jsonb := case when jsonb_typeof(p_body) = 'array' then p_body else jsonb_build_array(p_body) end;
  e jsonb;
  unknown text;
begin
  select k.organization_id into owner from secrets.key_owner(p_key) k;
  if owner is null then
    raise exception 'the API key is unknown' using errcode = '28000';
  end if;
  for e in select x from jsonb_array_elements(rows_in) x loop
    if jsonb_typeof(e) <> 'object' then
      raise exception 'a row must be a JSON object' using errcode = '22023';
    end if;
    if (e ->> 'organization_id')::uuid is distinct from owner then
      raise exception 'messages.organization_id: the API key belongs to another organization' using errcode = '42501';
    end if;
    select k into unknown from jsonb_object_keys(e) k
    where k not in (select a.attname from pg_catalog.pg_attribute a where a.attrelid = 'public.messages'::regclass and a.attnum > 0) limit 1;
    if unknown is not null then
      raise exception 'Could not find the ''%'' column of ''messages''', unknown using errcode = 'PGRST';
    end if;
  end loop;
  return query
  insert into public.messages as m
  select r.* from jsonb_array_elements(rows_in) with ordinality as x (e, n),
    jsonb_populate_record(null::public.messages, jsonb_build_object(
      'id', public.uuid_v7(), 'status', jsonb_build_object('pending', now()),
      -- in the order of the array, whatever the ids
      'timestamp', now() + (x.n - 1) * interval '1 microsecond', 'created_at', now(), 'updated_at', now()) || x.e) r
  where not p_ignore_duplicates
    or not exists (select from public.messages o where o.organization_id = owner and o.id = r.id)
  order by x.n
  returning m.*;
end
$$;


--
-- Name: FUNCTION insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean); Type: COMMENT; Schema: rest; Owner: -
--

COMMENT ON FUNCTION rest.insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean) IS 'Inserts one row or an array of rows for the organization of an API key. 28000: no such key; 42501: a row of another organization.';


--
-- Name: credentials; Type: TABLE; Schema: secrets; Owner: -
--

CREATE TABLE secrets.credentials (
    organization_id uuid NOT NULL,
    subject text NOT NULL,
    subject_key text NOT NULL,
    path text NOT NULL,
    plain text,
    sealed bytea,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT credentials_plain_or_sealed CHECK (((plain IS NULL) <> (sealed IS NULL)))
);


--
-- Name: TABLE credentials; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON TABLE secrets.credentials IS 'Tokens, keys and passwords taken out of extra by triggers. plain holds a value only until the seal loop has encrypted it (AES-256-GCM, SECRETS_KEY) into sealed.';


--
-- Name: COLUMN credentials.subject; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON COLUMN secrets.credentials.subject IS 'The table it came from.';


--
-- Name: COLUMN credentials.subject_key; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON COLUMN secrets.credentials.subject_key IS 'The row''s key within the organization.';


--
-- Name: COLUMN credentials.path; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON COLUMN secrets.credentials.path IS 'Where in extra it stood, dots between the keys; elements of arrays by their label or name.';


--
-- Name: as_json(secrets.credentials); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.as_json(c secrets.credentials) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select jsonb_build_object('organization_id', c.organization_id, 'subject', c.subject, 'subject_key', c.subject_key,
                            'path', c.path, 'plain', c.plain, 'sealed', encode(c.sealed, 'base64'))
$$;


--
-- Name: FUNCTION as_json(c secrets.credentials); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.as_json(c secrets.credentials) IS 'A credential as the loops read it: sealed (base64), or plain when the seal loop has not come to it yet.';


--
-- Name: forget(); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.forget() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  delete from secrets.credentials c
  where (c.organization_id, c.subject, c.subject_key) = (old.organization_id, tg_table_name::text, to_jsonb(old) ->> tg_argv[0]);
  return null;
end
$$;


--
-- Name: FUNCTION forget(); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.forget() IS 'After-delete trigger: the credentials of a row go with it. Its argument is the column that is the row''s key.';


--
-- Name: get(uuid, text, text, text); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.get(p_organization uuid, p_subject text, p_key text, p_path text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select secrets.as_json(c) from secrets.credentials c
  where (c.organization_id, c.subject, c.subject_key, c.path) = (p_organization, p_subject, p_key, p_path)
$$;


--
-- Name: FUNCTION get(p_organization uuid, p_subject text, p_key text, p_path text); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.get(p_organization uuid, p_subject text, p_key text, p_path text) IS 'One credential, as secrets.as_json shows it; null when there is none.';


--
-- Name: is_secret(text); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.is_secret(key text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select lower(key) = any ('{access_token,refresh_token,api_key,password,token,secret,client_secret,authorization}')
$$;


--
-- Name: FUNCTION is_secret(key text); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.is_secret(key text) IS 'Whether a key of extra, anywhere in it, holds a secret. All headers of a tool do as well.';


--
-- Name: keep(uuid, text, text, text, text); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into secrets.credentials (organization_id, subject, subject_key, path, plain)
  values (p_organization, p_subject, p_key, p_path, p_value)
  on conflict (organization_id, subject, subject_key, path) do update
    set plain = excluded.plain, sealed = null, updated_at = now();
  perform bus.enqueue('seal', p_organization, p_subject || ' ' || p_key || ' ' || p_path, p_path);
end
$$;


--
-- Name: FUNCTION keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text) IS 'Stores one credential, in place of an older one, and asks the seal loop to encrypt it.';


--
-- Name: key_owner(text); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.key_owner(p_key text) RETURNS TABLE(organization_id uuid, id uuid, role public.role)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select k.organization_id, k.id, k.role
  from secrets.api_key_owners o
  join secrets.api_keys k on k.organization_id = o.organization_id and k.id = o.id
  where o.hash = sha256(convert_to(p_key, 'UTF8'))
$$;


--
-- Name: FUNCTION key_owner(p_key text); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.key_owner(p_key text) IS 'Whose key it is: no row when it is nobody''s.';


--
-- Name: take(uuid, text, text, jsonb, text, boolean); Type: FUNCTION; Schema: secrets; Owner: -
--

CREATE FUNCTION secrets.take(p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text DEFAULT ''::text, p_all boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  result jsonb := p_value;
  k text;
  v jsonb;
  i bigint;
  step text;
begin
  if p_value is null then
    -- extra was cleared as a whole
    delete from secrets.credentials where (organization_id, subject, subject_key) = (p_organization, p_subject, p_key);
  elsif jsonb_typeof(p_value) = 'object' then
    for k, v in select * from jsonb_each(p_value) loop
      step := ltrim(p_path || '.' || k, '.');
      if jsonb_typeof(v) in ('object', 'array') then
        result := jsonb_set(result, array[k], secrets.take(p_organization, p_subject, p_key, v, step, lower(k) = 'headers'));
      elsif not (p_all or secrets.is_secret(k)) then
        continue;
      elsif jsonb_typeof(v) = 'null' or v = '""' then
        delete from secrets.credentials
        where (organization_id, subject, subject_key, path) = (p_organization, p_subject, p_key, step);
      elsif v <> '"[sealed]"' then
        perform secrets.keep(p_organization, p_subject, p_key, step, v #>> '{}');
        result := jsonb_set(result, array[k], '"[sealed]"');
      end if;
    end loop;
  elsif jsonb_typeof(p_value) = 'array' then
    for v, i in select e, n - 1 from jsonb_array_elements(p_value) with ordinality as x (e, n) loop
      step := p_path || '.' || coalesce(v ->> 'label', v ->> 'name', i::text);
      result := jsonb_set(result, array[i::text], secrets.take(p_organization, p_subject, p_key, v, step, p_all));
    end loop;
  end if;
  return result;
end
$$;


--
-- Name: FUNCTION take(p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text, p_all boolean); Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON FUNCTION secrets.take(p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text, p_all boolean) IS 'p_value with every secret in it moved to secrets.credentials and "[sealed]" in its place. Writing "[sealed]" back keeps what is stored; null or "" forgets it.';


--
-- Name: users; Type: TABLE; Schema: auth; Owner: -
--

CREATE TABLE auth.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text,
    raw_user_meta_data jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE users; Type: COMMENT; Schema: auth; Owner: -
--

COMMENT ON TABLE auth.users IS 'People who sign in. Only as much as other tables refer to; an existing one is left as it is.';


--
-- Name: applied; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.applied (
    only_row boolean DEFAULT true NOT NULL,
    sql_hash text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT applied_only_row_check CHECK (only_row)
);


--
-- Name: TABLE applied; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.applied IS 'Which state of sql/ (functions, triggers, views) the database has.';


--
-- Name: awake; Type: TABLE; Schema: bus; Owner: -
--

CREATE UNLOGGED TABLE bus.awake (
    queue text NOT NULL,
    worker uuid NOT NULL,
    until timestamp with time zone NOT NULL
)
WITH (fillfactor='20', autovacuum_vacuum_threshold='100', autovacuum_vacuum_scale_factor='0.0');


--
-- Name: TABLE awake; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.awake IS 'Which loops will look at the table again by themselves. No row, or an old one, means asleep: the bell rings.';


--
-- Name: dead; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.dead (
    organization_id uuid NOT NULL,
    queue text NOT NULL,
    id bigint NOT NULL,
    key text NOT NULL,
    lane text NOT NULL,
    subject text NOT NULL,
    priority smallint NOT NULL,
    single boolean NOT NULL,
    due_at timestamp with time zone NOT NULL,
    attempt integer NOT NULL,
    errors jsonb,
    created_at timestamp with time zone NOT NULL,
    died_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE dead; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.dead IS 'Tasks that were given up, with their errors. tidings replay --dead puts them back.';


--
-- Name: journal; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.journal (
    id bigint NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    app_id text,
    body bytea NOT NULL
);
ALTER TABLE ONLY bus.journal ALTER COLUMN body SET STORAGE EXTERNAL;


--
-- Name: TABLE journal; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.journal IS 'What came in from outside, byte for byte, before anyone understood it. Append only. It belongs to no organization yet.';


--
-- Name: COLUMN journal.app_id; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.journal.app_id IS 'The Meta app whose secret signed it, where it is known.';


--
-- Name: journal_id_seq; Type: SEQUENCE; Schema: bus; Owner: -
--

ALTER TABLE bus.journal ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME bus.journal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: numbers; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.numbers (
    service public.service NOT NULL,
    address text NOT NULL,
    organization_id uuid NOT NULL
);


--
-- Name: TABLE numbers; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.numbers IS 'Directory: whose traffic an address is. The organization that connected it last; it has no organization in its key because it is what finds one.';


--
-- Name: pairs; Type: TABLE; Schema: bus; Owner: -
--

CREATE UNLOGGED TABLE bus.pairs (
    organization_id uuid NOT NULL,
    key text NOT NULL,
    tat timestamp with time zone NOT NULL
)
WITH (fillfactor='50');


--
-- Name: TABLE pairs; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.pairs IS 'Pace of each pair of numbers (one message in 6 s, 45 in a burst), by conversation. Unlogged: a crash only forgets the pace.';


--
-- Name: parked; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.parked (
    id bigint NOT NULL,
    journal_id bigint NOT NULL,
    organization_id uuid,
    address text,
    reason text NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    raw jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE parked; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.parked IS 'Parts of journal entries that could not be stored, each with its reason and its raw JSON. Replayable; numbers nobody registered replay by themselves when the address appears.';


--
-- Name: parked_id_seq; Type: SEQUENCE; Schema: bus; Owner: -
--

ALTER TABLE bus.parked ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME bus.parked_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: queues; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.queues (
    queue text NOT NULL,
    lease interval NOT NULL,
    backoff interval NOT NULL,
    backoff_cap interval NOT NULL,
    max_attempts integer NOT NULL,
    hold interval DEFAULT '00:00:00'::interval NOT NULL
);


--
-- Name: TABLE queues; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.queues IS 'How each queue retries. Data: an operator may change it while everything runs.';


--
-- Name: COLUMN queues.lease; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.queues.lease IS 'How long a claimed task stays with its worker; afterwards it is due again. Longer than the longest step between two heartbeats.';


--
-- Name: COLUMN queues.backoff; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.queues.backoff IS 'Retry n waits a random time up to backoff * 2^n, at most backoff_cap (exponential, full jitter).';


--
-- Name: COLUMN queues.max_attempts; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.queues.max_attempts IS 'After this many attempts the task goes to bus.dead.';


--
-- Name: COLUMN queues.hold; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.queues.hold IS 'dispatch: how long a send whose outcome is unknown waits for a receipt before it is given up. intake: how long journal entries are kept.';


--
-- Name: tasks; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.tasks (
    queue text NOT NULL,
    organization_id uuid NOT NULL,
    id bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    lane text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    single boolean DEFAULT false NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    version integer DEFAULT 0 NOT NULL,
    worker uuid,
    suspect boolean DEFAULT false NOT NULL,
    held_since timestamp with time zone,
    errors jsonb,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.0', autovacuum_analyze_threshold='20000');


--
-- Name: TABLE tasks; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.tasks IS 'One narrow row for each thing that needs doing; deleted when done. Claiming pushes run_at into the future by the lease, so a crashed worker''s tasks become due again by themselves.';


--
-- Name: COLUMN tasks.organization_id; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.organization_id IS 'Whose work it is. Journal entries belong to nobody yet and carry the nil uuid.';


--
-- Name: COLUMN tasks.key; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.key IS 'Tasks of one key run one after the other, oldest (due_at, id) first: the conversation for agent and dispatch.';


--
-- Name: COLUMN tasks.lane; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.lane IS 'What is paced and paused together: the organization''s address for dispatch, empty for others.';


--
-- Name: COLUMN tasks.subject; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.subject IS 'The row it is about: a message''s id, a journal entry''s, …';


--
-- Name: COLUMN tasks.priority; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.priority IS '0 before 1 within an organization: answers go before broadcasts.';


--
-- Name: COLUMN tasks.single; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.single IS 'At most one such task for a key: another request moves the waiting one and raises its version (debounce).';


--
-- Name: COLUMN tasks.due_at; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.due_at IS 'When it was first due. Orders the tasks of a key; retries do not change it.';


--
-- Name: COLUMN tasks.attempt; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.attempt IS 'Raised by every claim; finish and retry name it and do nothing when it is no longer theirs (fencing).';


--
-- Name: COLUMN tasks.version; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.version IS 'Raised when another message came while the task waited or ran: a running agent learns from it that it is outdated.';


--
-- Name: COLUMN tasks.worker; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.worker IS 'Who claimed it and has not given it back. Set on a due task it means that the last attempt ended without a word.';


--
-- Name: COLUMN tasks.suspect; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.suspect IS 'Whether it had a worker already when it was claimed last.';


--
-- Name: COLUMN tasks.held_since; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.held_since IS 'Since when a send with an unknown outcome waits for a receipt to settle it. Held tasks do not block their key.';


--
-- Name: stuck; Type: VIEW; Schema: bus; Owner: -
--

CREATE VIEW bus.stuck AS
 SELECT t.queue,
    t.organization_id,
    t.id,
    t.key,
    t.subject,
    t.attempt,
    t.created_at,
    t.run_at,
        CASE
            WHEN (t.held_since IS NOT NULL) THEN 'held: its outcome is unknown, a receipt may settle it'::text
            WHEN ((t.run_at > clock_timestamp()) AND (t.worker IS NOT NULL)) THEN 'running'::text
            WHEN ((t.run_at > clock_timestamp()) AND (t.errors IS NOT NULL)) THEN 'waits to be retried'::text
            WHEN (t.run_at > clock_timestamp()) THEN 'not due yet'::text
            WHEN (l.resume_at > clock_timestamp()) THEN ('its number is stopped: '::text || COALESCE(l.paused_reason, 'it could not be reached'::text))
            WHEN (bus.opens(l.*) > clock_timestamp()) THEN 'its number is at its rate'::text
            WHEN (EXISTS ( SELECT
               FROM bus.tasks o
              WHERE ((o.organization_id = t.organization_id) AND (o.queue = t.queue) AND (o.key = t.key) AND (ROW(o.due_at, o.id) < ROW(t.due_at, t.id)) AND (o.held_since IS NULL)))) THEN 'waits for an older one of its conversation'::text
            ELSE 'due: no worker has taken it yet'::text
        END AS why,
    ((t.errors -> '-1'::integer) ->> 'error'::text) AS last_error
   FROM (bus.tasks t
     LEFT JOIN bus.lanes l ON (((l.organization_id = t.organization_id) AND (l.lane = t.lane))));


--
-- Name: VIEW stuck; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON VIEW bus.stuck IS 'Every task with the reason why it is not done yet: select * from bus.stuck where subject = ''…''.';


--
-- Name: tasks_id_seq; Type: SEQUENCE; Schema: bus; Owner: -
--

ALTER TABLE bus.tasks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME bus.tasks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: api_keys; Type: TABLE; Schema: secrets; Owner: -
--

CREATE TABLE secrets.api_keys (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    role public.role DEFAULT 'member'::public.role NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE api_keys; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON TABLE secrets.api_keys IS 'API keys by their SHA-256; public.api_keys is how they are made and listed.';


--
-- Name: api_keys; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.api_keys WITH (security_barrier='true') AS
 SELECT k.organization_id,
    k.id,
    k.role,
    k.name,
    (k.prefix || '…'::text) AS key,
    k.created_at,
    k.updated_at
   FROM secrets.api_keys k;


--
-- Name: VIEW api_keys; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.api_keys IS 'API keys. Insert one with your own key, or without to have one made: the insert''s answer shows it, nothing else ever does.';


--
-- Name: contacts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contacts (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    name text,
    extra jsonb,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE contacts; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.contacts IS 'The address book: people, each with any number of addresses.';


--
-- Name: contacts_addresses; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contacts_addresses (
    organization_id uuid NOT NULL,
    contact_id uuid,
    service public.service NOT NULL,
    address text NOT NULL,
    extra jsonb,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT contacts_addresses_address_check CHECK ((address <> ''::text))
);


--
-- Name: TABLE contacts_addresses; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.contacts_addresses IS 'Where people write from: digits of a phone or a business-scoped user id. Exists from the first message on; a contact is linked later, or never.';


--
-- Name: logs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.logs (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    organization_address text,
    level public.log_level NOT NULL,
    category text NOT NULL,
    service public.service,
    message text NOT NULL,
    metadata jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE logs; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.logs IS 'What the organization should know of: failures, account events, imports.';


--
-- Name: onboarding_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.onboarding_tokens (
    organization_id uuid NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    status text DEFAULT 'active'::text NOT NULL,
    service public.service NOT NULL,
    callback_url text,
    verify_token text,
    CONSTRAINT onboarding_tokens_status_check CHECK ((status = ANY (ARRAY['active'::text, 'used'::text, 'expired'::text])))
);


--
-- Name: TABLE onboarding_tokens; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.onboarding_tokens IS 'Links by which somebody outside connects a number to the organization. The id is the secret of the link, so it is random.';


--
-- Name: organizations_addresses; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.organizations_addresses (
    organization_id uuid NOT NULL,
    service public.service NOT NULL,
    address text NOT NULL,
    extra jsonb,
    status text DEFAULT 'connected'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT organizations_addresses_address_check CHECK ((address <> ''::text))
);


--
-- Name: TABLE organizations_addresses; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.organizations_addresses IS 'Connected accounts: for WhatsApp the address is Meta''s phone number id, for local the organization''s id.';


--
-- Name: COLUMN organizations_addresses.extra; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.organizations_addresses.extra IS 'WhatsApp: waba_id, business_id, phone_number (digits), verified_name, flow_type, access_token (sealed on the way in).';


--
-- Name: quick_replies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.quick_replies (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    name text NOT NULL,
    content text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE quick_replies; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.quick_replies IS 'Canned answers for people who write by hand.';


--
-- Name: refinery_schema_history; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.refinery_schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);


--
-- Name: webhooks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.webhooks (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    table_name public.webhook_table NOT NULL,
    operations public.webhook_operation[] NOT NULL,
    url character varying NOT NULL,
    token character varying,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE webhooks; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.webhooks IS 'Endpoints of customers that want to hear of changed rows.';


--
-- Name: api_key_owners; Type: TABLE; Schema: secrets; Owner: -
--

CREATE TABLE secrets.api_key_owners (
    hash bytea NOT NULL,
    organization_id uuid NOT NULL,
    id uuid NOT NULL
);


--
-- Name: TABLE api_key_owners; Type: COMMENT; Schema: secrets; Owner: -
--

COMMENT ON TABLE secrets.api_key_owners IS 'Directory: which organization a key belongs to. No organization in its key because it is what finds one.';


--
-- Name: api_keys id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys ALTER COLUMN id SET DEFAULT public.uuid_v7();


--
-- Name: api_keys role; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys ALTER COLUMN role SET DEFAULT 'member'::public.role;


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: auth; Owner: -
--

ALTER TABLE ONLY auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: applied applied_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.applied
    ADD CONSTRAINT applied_pkey PRIMARY KEY (only_row);


--
-- Name: awake awake_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.awake
    ADD CONSTRAINT awake_pkey PRIMARY KEY (queue, worker);


--
-- Name: dead dead_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.dead
    ADD CONSTRAINT dead_pkey PRIMARY KEY (organization_id, queue, id);


--
-- Name: journal journal_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (id);


--
-- Name: lanes lanes_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (organization_id, lane);


--
-- Name: numbers numbers_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.numbers
    ADD CONSTRAINT numbers_pkey PRIMARY KEY (service, address);


--
-- Name: orphans orphans_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.orphans
    ADD CONSTRAINT orphans_pkey PRIMARY KEY (organization_id, organization_address, external_id);


--
-- Name: pairs pairs_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.pairs
    ADD CONSTRAINT pairs_pkey PRIMARY KEY (organization_id, key);


--
-- Name: parked parked_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (id);


--
-- Name: queues queues_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (queue);


--
-- Name: tasks tasks_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (organization_id, queue, key, due_at, id);


--
-- Name: agents agents_organization_id_user_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_organization_id_user_id_key UNIQUE (organization_id, user_id);


--
-- Name: agents agents_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (organization_id, id);


--
-- Name: contacts_addresses contacts_addresses_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts_addresses
    ADD CONSTRAINT contacts_addresses_pkey PRIMARY KEY (organization_id, service, address);


--
-- Name: contacts contacts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts
    ADD CONSTRAINT contacts_pkey PRIMARY KEY (organization_id, id);


--
-- Name: conversations conversations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (organization_id, id);


--
-- Name: logs logs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (organization_id, id);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (organization_id, id);


--
-- Name: onboarding_tokens onboarding_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.onboarding_tokens
    ADD CONSTRAINT onboarding_tokens_pkey PRIMARY KEY (organization_id, id);


--
-- Name: organizations_addresses organizations_addresses_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations_addresses
    ADD CONSTRAINT organizations_addresses_pkey PRIMARY KEY (organization_id, address);


--
-- Name: organizations organizations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);


--
-- Name: quick_replies quick_replies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.quick_replies
    ADD CONSTRAINT quick_replies_pkey PRIMARY KEY (organization_id, id);


--
-- Name: refinery_schema_history refinery_schema_history_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);


--
-- Name: webhooks webhooks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (organization_id, id);


--
-- Name: api_key_owners api_key_owners_pkey; Type: CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.api_key_owners
    ADD CONSTRAINT api_key_owners_pkey PRIMARY KEY (hash);


--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, id);


--
-- Name: credentials credentials_pkey; Type: CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (organization_id, subject, subject_key, path);


--
-- Name: dead_died; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX dead_died ON bus.dead USING btree (queue, died_at);


--
-- Name: dead_subject; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX dead_subject ON bus.dead USING btree (organization_id, queue, subject);


--
-- Name: journal_received; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX journal_received ON bus.journal USING brin (received_at);


--
-- Name: numbers_organization; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX numbers_organization ON bus.numbers USING btree (organization_id);


--
-- Name: parked_address; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX parked_address ON bus.parked USING btree (address) WHERE (address IS NOT NULL);


--
-- Name: parked_journal; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX parked_journal ON bus.parked USING btree (journal_id);


--
-- Name: tasks_due; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX tasks_due ON bus.tasks USING btree (queue, run_at);


--
-- Name: tasks_single; Type: INDEX; Schema: bus; Owner: -
--

CREATE UNIQUE INDEX tasks_single ON bus.tasks USING btree (organization_id, queue, key) WHERE single;


--
-- Name: tasks_turn; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX tasks_turn ON bus.tasks USING btree (queue, organization_id, lane, priority, run_at);


--
-- Name: agents_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX agents_user ON public.agents USING btree (user_id);


--
-- Name: contacts_addresses_bsuid; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_addresses_bsuid ON public.contacts_addresses USING btree (organization_id, ((extra ->> 'bsuid'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: contacts_addresses_contact; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_addresses_contact ON public.contacts_addresses USING btree (organization_id, contact_id);


--
-- Name: contacts_addresses_phone_number; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_addresses_phone_number ON public.contacts_addresses USING btree (organization_id, ((extra ->> 'phone_number'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: contacts_addresses_replaced_by; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX contacts_addresses_replaced_by ON public.contacts_addresses USING btree (organization_id, ((extra ->> 'replaced_by_bsuid'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: conversations_active_contact; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX conversations_active_contact ON public.conversations USING btree (organization_id, service, organization_address, contact_address) WHERE ((status = 'active'::text) AND (group_address IS NULL) AND (contact_address IS NOT NULL));


--
-- Name: conversations_active_group; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX conversations_active_group ON public.conversations USING btree (organization_id, service, organization_address, group_address) WHERE ((status = 'active'::text) AND (group_address IS NOT NULL));


--
-- Name: conversations_address; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX conversations_address ON public.conversations USING btree (organization_id, organization_address);


--
-- Name: conversations_contact; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX conversations_contact ON public.conversations USING btree (organization_id, service, contact_address);


--
-- Name: conversations_updated; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX conversations_updated ON public.conversations USING btree (organization_id, updated_at);


--
-- Name: logs_address; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX logs_address ON public.logs USING btree (organization_id, organization_address);


--
-- Name: logs_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX logs_newest ON public.logs USING btree (organization_id, created_at DESC);


--
-- Name: messages_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_agent ON public.messages USING btree (organization_id, agent_id) WHERE (agent_id IS NOT NULL);


--
-- Name: messages_conversation; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_conversation ON public.messages USING btree (organization_id, conversation_id, "timestamp" DESC);


--
-- Name: messages_external_id; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX messages_external_id ON public.messages USING btree (organization_id, organization_address, external_id) WHERE (external_id IS NOT NULL);


--
-- Name: messages_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_newest ON public.messages USING btree (organization_id, "timestamp" DESC);


--
-- Name: organizations_addresses_phone_number; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX organizations_addresses_phone_number ON public.organizations_addresses USING btree (((extra ->> 'phone_number'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: organizations_addresses_waba_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX organizations_addresses_waba_id ON public.organizations_addresses USING btree (((extra ->> 'waba_id'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: api_key_owners_key; Type: INDEX; Schema: secrets; Owner: -
--

CREATE INDEX api_key_owners_key ON secrets.api_key_owners USING btree (organization_id, id);


--
-- Name: journal request_intake; Type: TRIGGER; Schema: bus; Owner: -
--

CREATE TRIGGER request_intake AFTER INSERT ON bus.journal REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION bus.after_insert_on_journal();


--
-- Name: contacts_addresses cleanup_unlinked_address_if_empty; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER cleanup_unlinked_address_if_empty AFTER UPDATE ON public.contacts_addresses FOR EACH ROW WHEN (((old.contact_id IS NOT NULL) AND (new.contact_id IS NULL) AND ((new.extra #>> '{synced,action}'::text[]) IS DISTINCT FROM 'add'::text))) EXECUTE FUNCTION public.after_unlink_on_contacts_addresses();


--
-- Name: agents forget_credentials; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_credentials AFTER DELETE ON public.agents FOR EACH ROW EXECUTE FUNCTION secrets.forget('id');


--
-- Name: organizations_addresses forget_credentials; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_credentials AFTER DELETE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION secrets.forget('address');


--
-- Name: webhooks forget_credentials; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_credentials AFTER DELETE ON public.webhooks FOR EACH ROW EXECUTE FUNCTION secrets.forget('id');


--
-- Name: organizations forget_work; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_work AFTER DELETE ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.after_delete_on_organizations();


--
-- Name: conversations handle_new_conversation; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER handle_new_conversation BEFORE INSERT ON public.conversations FOR EACH ROW EXECUTE FUNCTION public.before_insert_on_conversations();


--
-- Name: messages handle_new_message; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER handle_new_message BEFORE INSERT ON public.messages FOR EACH ROW EXECUTE FUNCTION public.before_insert_on_messages();


--
-- Name: organizations handle_new_organization; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER handle_new_organization AFTER INSERT ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.after_insert_on_organizations();


--
-- Name: organizations_addresses keep_directory; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER keep_directory AFTER INSERT OR DELETE OR UPDATE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION public.after_write_organizations_addresses();


--
-- Name: agents keep_messages; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER keep_messages BEFORE DELETE ON public.agents FOR EACH ROW EXECUTE FUNCTION public.before_delete_on_agents();


--
-- Name: messages merge; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER merge BEFORE UPDATE ON public.messages FOR EACH ROW EXECUTE FUNCTION public.before_update_on_messages();


--
-- Name: messages request_receipt; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_receipt AFTER UPDATE ON public.messages FOR EACH ROW WHEN (((new.direction = 'incoming'::public.direction) AND (new.service <> 'local'::public.service) AND (new.external_id IS NOT NULL) AND (new.status IS DISTINCT FROM old.status) AND (((new.status ->> 'read'::text) IS DISTINCT FROM (old.status ->> 'read'::text)) OR ((new.status ->> 'typing'::text) IS DISTINCT FROM (old.status ->> 'typing'::text))))) EXECUTE FUNCTION public.after_read_on_messages();


--
-- Name: messages request_work; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_work AFTER INSERT ON public.messages REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.after_insert_on_messages();


--
-- Name: agents seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON public.agents FOR EACH ROW EXECUTE FUNCTION public.before_write_agents();


--
-- Name: organizations seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.before_write_organizations();


--
-- Name: organizations_addresses seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION public.before_write_organizations_addresses();


--
-- Name: webhooks seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON public.webhooks FOR EACH ROW EXECUTE FUNCTION public.before_write_webhooks();


--
-- Name: agents set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.agents FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: contacts set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: contacts_addresses set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.contacts_addresses FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: conversations set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.conversations FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: organizations set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: organizations_addresses set_extra; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_extra BEFORE UPDATE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION public.merge_extra();


--
-- Name: quick_replies set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.quick_replies FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: contacts unlink_addresses; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER unlink_addresses BEFORE DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION public.before_delete_on_contacts();


--
-- Name: api_keys write; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER write INSTEAD OF INSERT OR DELETE OR UPDATE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.write_api_keys();


--
-- Name: lanes lanes_organization_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.lanes
    ADD CONSTRAINT lanes_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: numbers numbers_organization_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.numbers
    ADD CONSTRAINT numbers_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: orphans orphans_organization_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.orphans
    ADD CONSTRAINT orphans_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: parked parked_journal_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.parked
    ADD CONSTRAINT parked_journal_id_fkey FOREIGN KEY (journal_id) REFERENCES bus.journal(id) ON DELETE CASCADE;


--
-- Name: agents agents_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: agents agents_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE;


--
-- Name: contacts_addresses contacts_addresses_organization_id_contact_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts_addresses
    ADD CONSTRAINT contacts_addresses_organization_id_contact_id_fkey FOREIGN KEY (organization_id, contact_id) REFERENCES public.contacts(organization_id, id);


--
-- Name: contacts_addresses contacts_addresses_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts_addresses
    ADD CONSTRAINT contacts_addresses_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: contacts contacts_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contacts
    ADD CONSTRAINT contacts_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: conversations conversations_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: conversations conversations_organization_id_organization_address_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_organization_id_organization_address_fkey FOREIGN KEY (organization_id, organization_address) REFERENCES public.organizations_addresses(organization_id, address);


--
-- Name: conversations conversations_organization_id_service_contact_address_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_organization_id_service_contact_address_fkey FOREIGN KEY (organization_id, service, contact_address) REFERENCES public.contacts_addresses(organization_id, service, address);


--
-- Name: logs logs_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.logs
    ADD CONSTRAINT logs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: logs logs_organization_id_organization_address_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.logs
    ADD CONSTRAINT logs_organization_id_organization_address_fkey FOREIGN KEY (organization_id, organization_address) REFERENCES public.organizations_addresses(organization_id, address) ON DELETE CASCADE;


--
-- Name: messages messages_organization_id_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_organization_id_agent_id_fkey FOREIGN KEY (organization_id, agent_id) REFERENCES public.agents(organization_id, id);


--
-- Name: messages messages_organization_id_conversation_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_organization_id_conversation_id_fkey FOREIGN KEY (organization_id, conversation_id) REFERENCES public.conversations(organization_id, id) ON DELETE CASCADE;


--
-- Name: messages messages_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: onboarding_tokens onboarding_tokens_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.onboarding_tokens
    ADD CONSTRAINT onboarding_tokens_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: organizations_addresses organizations_addresses_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations_addresses
    ADD CONSTRAINT organizations_addresses_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: quick_replies quick_replies_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.quick_replies
    ADD CONSTRAINT quick_replies_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: webhooks webhooks_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: api_key_owners api_key_owners_organization_id_id_fkey; Type: FK CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.api_key_owners
    ADD CONSTRAINT api_key_owners_organization_id_id_fkey FOREIGN KEY (organization_id, id) REFERENCES secrets.api_keys(organization_id, id) ON DELETE CASCADE;


--
-- Name: api_keys api_keys_organization_id_fkey; Type: FK CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.api_keys
    ADD CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: credentials credentials_organization_id_fkey; Type: FK CONSTRAINT; Schema: secrets; Owner: -
--

ALTER TABLE ONLY secrets.credentials
    ADD CONSTRAINT credentials_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;


--
-- Name: FUNCTION accept(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.accept(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) FROM PUBLIC;


--
-- Name: FUNCTION admit(p_tids tid[], p_now timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.admit(p_tids tid[], p_now timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION adopt_orphans(p_organization uuid, p_address text, p_external_id text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_journal(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.after_insert_on_journal() FROM PUBLIC;


--
-- Name: FUNCTION agent_context(p_organization uuid, p_conversation uuid, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.agent_context(p_organization uuid, p_conversation uuid, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION agent_history(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.agent_history(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION uuid_v7(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.uuid_v7() FROM PUBLIC;


--
-- Name: FUNCTION answer(p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.answer(p_conversation public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction) FROM PUBLIC;


--
-- Name: FUNCTION apply_early(o bus.orphans); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.apply_early(o bus.orphans) FROM PUBLIC;


--
-- Name: FUNCTION as_time(p_text text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.as_time(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION backoff(p_queue text, p_attempt integer); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.backoff(p_queue text, p_attempt integer) FROM PUBLIC;


--
-- Name: FUNCTION bury(p_ids bigint[], p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.bury(p_ids bigint[], p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION candidates(p_queue text, p_limit integer, p_after uuid, p_organization uuid, p_now timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.candidates(p_queue text, p_limit integer, p_after uuid, p_organization uuid, p_now timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION candidates_of(p_queue text, p_organization uuid, p_lane text, p_limit integer, p_taken tid[], p_now timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.candidates_of(p_queue text, p_organization uuid, p_lane text, p_limit integer, p_taken tid[], p_now timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION choose_agent(p_organization public.organizations, p_conversation public.conversations); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.choose_agent(p_organization public.organizations, p_conversation public.conversations) FROM PUBLIC;


--
-- Name: FUNCTION claim(p_queue text, p_worker uuid, p_limit integer, p_after uuid, p_awake boolean, p_organization uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim(p_queue text, p_worker uuid, p_limit integer, p_after uuid, p_awake boolean, p_organization uuid) FROM PUBLIC;


--
-- Name: FUNCTION claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_dispatch(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_dispatch(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION enqueue(p_queue text, p_organization uuid, p_key text, p_subject text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.enqueue(p_queue text, p_organization uuid, p_key text, p_subject text) FROM PUBLIC;


--
-- Name: FUNCTION fail_unknown(p_organization uuid, p_task bigint, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.fail_unknown(p_organization uuid, p_task bigint, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION finish(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_agent(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_agent(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_dispatch(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_dispatch(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_intake(p_results jsonb, p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_seal(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_seal(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_unsent(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_unsent(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text) FROM PUBLIC;


--
-- Name: FUNCTION hold_suspects(p_claimed bus.claimed[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.hold_suspects(p_claimed bus.claimed[]) FROM PUBLIC;


--
-- Name: FUNCTION is_paused(p_extra jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.is_paused(p_extra jsonb) FROM PUBLIC;


--
-- Name: FUNCTION log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb) FROM PUBLIC;


--
-- Name: FUNCTION mark_unknown(p_organization uuid, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.mark_unknown(p_organization uuid, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION next_look(p_queue text, p_worker uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.next_look(p_queue text, p_worker uuid) FROM PUBLIC;


--
-- Name: FUNCTION note(p_errors jsonb, p_error text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.note(p_errors jsonb, p_error text) FROM PUBLIC;


--
-- Name: FUNCTION opens(l bus.lanes); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.opens(l bus.lanes) FROM PUBLIC;


--
-- Name: FUNCTION park(p_event jsonb, p_reason text, p_detail text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.park(p_event jsonb, p_reason text, p_detail text) FROM PUBLIC;


--
-- Name: FUNCTION poll(p_worker uuid, p_queues text[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.poll(p_worker uuid, p_queues text[]) FROM PUBLIC;


--
-- Name: FUNCTION prune(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.prune() FROM PUBLIC;


--
-- Name: FUNCTION quiet(p_horizon text, OUT horizon text, OUT settled boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.quiet(p_horizon text, OUT horizon text, OUT settled boolean) FROM PUBLIC;


--
-- Name: FUNCTION release(p_queue text, p_worker uuid, p_keep bigint[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.release(p_queue text, p_worker uuid, p_keep bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION renew(p_queue text, p_worker uuid, p_tasks jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.renew(p_queue text, p_worker uuid, p_tasks jsonb) FROM PUBLIC;


--
-- Name: FUNCTION replay_dead(p_queue text, p_ids bigint[], p_since timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.replay_dead(p_queue text, p_ids bigint[], p_since timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION replay_parked(p_address text, p_ids bigint[], p_since timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.replay_parked(p_address text, p_ids bigint[], p_since timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION rest(p_queue text, p_worker uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.rest(p_queue text, p_worker uuid) FROM PUBLIC;


--
-- Name: FUNCTION ring(p_queue text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.ring(p_queue text) FROM PUBLIC;


--
-- Name: FUNCTION room(l bus.lanes, p_now timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.room(l bus.lanes, p_now timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION route(p_service public.service, p_address text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.route(p_service public.service, p_address text) FROM PUBLIC;


--
-- Name: FUNCTION settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) FROM PUBLIC;


--
-- Name: FUNCTION split_message(p_organization uuid, p_message uuid, p_parts jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.split_message(p_organization uuid, p_message uuid, p_parts jsonb) FROM PUBLIC;


--
-- Name: FUNCTION status(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.status() FROM PUBLIC;


--
-- Name: FUNCTION store_contacts(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_contacts(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_events(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_events(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_messages(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_messages(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_statuses(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_statuses(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION wake(p_queue text, p_worker uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.wake(p_queue text, p_worker uuid) FROM PUBLIC;


--
-- Name: FUNCTION after_delete_on_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_delete_on_organizations() FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_insert_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_insert_on_organizations() FROM PUBLIC;


--
-- Name: FUNCTION after_read_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_read_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION after_unlink_on_contacts_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_unlink_on_contacts_addresses() FROM PUBLIC;


--
-- Name: FUNCTION after_write_organizations_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_write_organizations_addresses() FROM PUBLIC;


--
-- Name: FUNCTION before_delete_on_agents(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_delete_on_agents() FROM PUBLIC;


--
-- Name: FUNCTION before_delete_on_contacts(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_delete_on_contacts() FROM PUBLIC;


--
-- Name: FUNCTION before_insert_on_conversations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_insert_on_conversations() FROM PUBLIC;


--
-- Name: FUNCTION before_insert_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_insert_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION before_update_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_update_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION before_write_agents(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_agents() FROM PUBLIC;


--
-- Name: FUNCTION before_write_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_organizations() FROM PUBLIC;


--
-- Name: FUNCTION before_write_organizations_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_organizations_addresses() FROM PUBLIC;


--
-- Name: FUNCTION before_write_webhooks(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_webhooks() FROM PUBLIC;


--
-- Name: FUNCTION check_content(p_content jsonb, p_direction public.direction); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.check_content(p_content jsonb, p_direction public.direction) FROM PUBLIC;


--
-- Name: FUNCTION conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text) FROM PUBLIC;


--
-- Name: FUNCTION merge_extra(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.merge_extra() FROM PUBLIC;


--
-- Name: FUNCTION merge_status(p_old jsonb, p_new jsonb, p_direction public.direction); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.merge_status(p_old jsonb, p_new jsonb, p_direction public.direction) FROM PUBLIC;


--
-- Name: FUNCTION merge_update_jsonb(target jsonb, path text[], object jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.merge_update_jsonb(target jsonb, path text[], object jsonb) FROM PUBLIC;


--
-- Name: FUNCTION refuse_content(p_field text, p_problem text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.refuse_content(p_field text, p_problem text) FROM PUBLIC;


--
-- Name: FUNCTION require_string(p_content jsonb, p_path text[], p_empty boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.require_string(p_content jsonb, p_path text[], p_empty boolean) FROM PUBLIC;


--
-- Name: FUNCTION set_updated_at(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.set_updated_at() FROM PUBLIC;


--
-- Name: FUNCTION write_api_keys(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.write_api_keys() FROM PUBLIC;


--
-- Name: FUNCTION insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean); Type: ACL; Schema: rest; Owner: -
--

REVOKE ALL ON FUNCTION rest.insert_messages(p_key text, p_body jsonb, p_ignore_duplicates boolean) FROM PUBLIC;


--
-- Name: FUNCTION as_json(c secrets.credentials); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.as_json(c secrets.credentials) FROM PUBLIC;


--
-- Name: FUNCTION forget(); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.forget() FROM PUBLIC;


--
-- Name: FUNCTION get(p_organization uuid, p_subject text, p_key text, p_path text); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.get(p_organization uuid, p_subject text, p_key text, p_path text) FROM PUBLIC;


--
-- Name: FUNCTION is_secret(key text); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.is_secret(key text) FROM PUBLIC;


--
-- Name: FUNCTION keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text) FROM PUBLIC;


--
-- Name: FUNCTION key_owner(p_key text); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.key_owner(p_key text) FROM PUBLIC;


--
-- Name: FUNCTION take(p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text, p_all boolean); Type: ACL; Schema: secrets; Owner: -
--

REVOKE ALL ON FUNCTION secrets.take(p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text, p_all boolean) FROM PUBLIC;


--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: -; Owner: -
--

ALTER DEFAULT PRIVILEGES FOR ROLE tidings_test REVOKE ALL ON FUNCTIONS  FROM PUBLIC;


--
-- PostgreSQL database dump complete
--


