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
-- Name: billing; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA billing;


--
-- Name: SCHEMA billing; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA billing IS 'Plans, prices and usage.';


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
-- Name: storage; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA storage;


--
-- Name: SCHEMA storage; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA storage IS 'Files. Internal; clients use /storage/v1.';


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
	held_since timestamp with time zone,
	waits_for text
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
-- Name: step; Type: TYPE; Schema: bus; Owner: -
--

CREATE TYPE bus.step AS (
	queue text,
	organization_id uuid,
	key text,
	id bigint,
	attempt integer,
	version integer,
	outcome text,
	after double precision,
	error text,
	agent_id uuid,
	results jsonb,
	unstarted jsonb,
	turn jsonb,
	answer jsonb,
	seen jsonb,
	remote jsonb,
	usage jsonb,
	apology jsonb,
	forget timestamp with time zone
);


--
-- Name: TYPE step; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TYPE bus.step IS 'What a step of an agent''s run came to. results: [{message_id, result, is_error}] of calls; unstarted: calls that were not begun; turn: {calls, text, state} of the model; answer, apology: contents to send; seen: the messages that the answer is to; remote: a task of another agent, as content; usage: tokens; forget: since when the contact starts over.';


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
  -- An echo of this very send was faster than its answer: it gives way, with what it knows.
  delete from public.messages e
  using public.messages m
  where m.organization_id = p_organization and m.id = p_message
    and e.organization_id = m.organization_id and e.organization_address = m.organization_address and e.external_id = p_external_id
    and e.direction = 'outgoing' and e.agent_id is null and not e.status ? 'pending' and e.conversation_id = m.conversation_id;
  if found then
    update public.messages m set external_id = p_external_id, status = p_status
    where m.organization_id = p_organization and m.id = p_message;
    return;
  end if;
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
  o bus.orphans;
  change jsonb;
begin
  delete from bus.orphans x
  where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id)
  returning * into o;
  if not found then
    return;
  end if;
  update public.messages m set status = o.status, extra = coalesce(o.extra, m.extra)
  where (m.organization_id, m.organization_address, m.external_id) = (p_organization, p_address, p_external_id);
  for change in select c from jsonb_array_elements(coalesce(o.changes, '[]')) c loop
    perform bus.apply_change(p_organization, p_address, p_external_id, change);
  end loop;
end
$$;


--
-- Name: FUNCTION adopt_orphans(p_organization uuid, p_address text, p_external_id text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.adopt_orphans(p_organization uuid, p_address text, p_external_id text) IS 'Applies receipts, edits and revocations that came before their message.';


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
  v_wait float8;
  v_last_words boolean;
  v_gate text;
  v_todo jsonb;
begin
  select * into o from public.organizations where id = p_organization;
  select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
  select * into newest from public.messages where organization_id = p_organization and id = p_message;
  if newest.id is null then
    -- The message that asked is gone: the one before it counts.
    select * into newest from public.messages m
    where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'incoming'
    order by m."timestamp" desc, m.id desc limit 1;
  end if;
  if c.id is null or newest.id is null then
    delete from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation;
    return jsonb_build_object('gate', 'the conversation or its messages are gone');
  end if;
  v_wait := bus.waits_for_media(p_organization, p_conversation);
  if v_wait > 0 then
    -- Whoever brings the file locks the conversation as well: it cannot come unnoticed between the look and the wait.
    if not bus.lock_conversation(p_organization, p_conversation) then
      return jsonb_build_object('wait', 0.05);
    end if;
    v_wait := bus.waits_for_media(p_organization, p_conversation);
    if v_wait > 0 then
      return jsonb_build_object('wait', v_wait, 'for', 'media');
    end if;
  end if;
  select * into address from public.contacts_addresses
  where organization_id = p_organization and service = c.service and contacts_addresses.address = coalesce(c.contact_address, newest.contact_address);
  select * into contact from public.contacts where organization_id = p_organization and id = address.contact_id;
  a := bus.choose_agent(o, c, newest);
  v_last_words := bus.has_last_words(c.extra, newest.created_at);
  if (exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation)
      or coalesce(o.extra ? 'limits', false) or coalesce(a.extra ? 'limits', false))
    and not bus.lock_conversation(p_organization, p_conversation) then
    -- Somebody writes to it at this moment: a little later.
    return jsonb_build_object('wait', 0.05);
  end if;
  perform bus.expire_questions(c)
  where exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation and k.state = 'asked');
  v_gate := bus.agent_gate(o, c, a, newest, contact.id is not null, v_last_words);
  if v_gate is null or v_gate = 'no active agent' then
    -- A greeting for whoever writes for the first time; it does not stand in for the answer.
    if coalesce(o.extra ->> 'welcome_message', '') <> ''
      and not exists (select from public.messages m where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'outgoing') then
      perform bus.answer(c, null, jsonb_build_array(jsonb_build_object(
        'version', '1', 'type', 'text', 'kind', 'text', 'text', o.extra ->> 'welcome_message')), 'outgoing');
    end if;
  end if;
  if v_gate is not null then
    if exists (
      select from bus.calls k
      where k.organization_id = p_organization and k.conversation_id = p_conversation and k.approved and k.state = 'ready') then
      -- What a person has granted is made when the agent may act again.
      return jsonb_build_object('for', 'approval', 'wait', greatest(1, coalesce(
        extract(epoch from bus.as_time(c.extra ->> 'paused') + bus.pause_of(o.extra) - clock_timestamp()), 600))::float8);
    end if;
    return jsonb_build_object('gate', v_gate);
  end if;

  v_todo := '{}';
  if exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation) then
    v_todo := bus.settle_calls(c, a.id, newest.created_at);
    if v_todo ? 'wait' then
      return v_todo;
    end if;
    select * into c from public.conversations where organization_id = p_organization and id = p_conversation;
    a := bus.choose_agent(o, c, newest);
    if v_todo ? 'calls' then
      -- A call is made with the settings of the agent that asked for it.
      select * into a from public.agents x where x.organization_id = p_organization and x.id = (v_todo ->> 'agent_id')::uuid;
    end if;
    v_last_words := bus.has_last_words(c.extra, newest.created_at);
  end if;

  -- Blue ticks and "typing …" while it works.
  if newest.external_id is not null and c.service <> 'local' and newest.created_at > now() - interval '1 hour' then
    update public.messages m set status = jsonb_build_object('read', clock_timestamp(), 'typing', clock_timestamp())
    where m.organization_id = p_organization and m.id = newest.id;
  end if;
  return v_todo || jsonb_build_object(
    'organization', jsonb_build_object('id', o.id, 'name', o.name, 'extra', o.extra),
    'conversation', jsonb_build_object('id', c.id, 'service', c.service, 'organization_address', c.organization_address,
      'contact_address', c.contact_address, 'group_address', c.group_address, 'extra', c.extra),
    'contact', jsonb_build_object('id', contact.id, 'name', coalesce(contact.name, address.extra ->> 'name'), 'phone_number', address.extra ->> 'phone_number'),
    'agent', jsonb_build_object('id', a.id, 'name', a.name, 'extra', a.extra),
    'credentials', (
      select jsonb_object_agg(k.path, secrets.as_json(k)) from secrets.credentials k
      where k.organization_id = p_organization and k.subject = 'agents' and k.subject_key = a.id::text))
    || case when v_todo ? 'calls' then '{}' else jsonb_build_object(
      'last_words', v_last_words, 'messages', bus.agent_history(c),
      'window', bus.agent_window(c), 'no_tools', bus.limit_reached(o, a, c.id, '{tool_calls}') is not null) end;
end
$$;


--
-- Name: FUNCTION agent_context(p_organization uuid, p_conversation uuid, p_message uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_context(p_organization uuid, p_conversation uuid, p_message uuid) IS 'All a step of a run needs in one object: calls to make, or the history to put to the model; or {"gate": reason} when the agent should keep quiet, or {"wait": seconds, "for": what}. Sends the welcome message and asks for the read receipt.';


--
-- Name: uuid_v7(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.uuid_v7() RETURNS uuid
    LANGUAGE plpgsql PARALLEL SAFE
    AS $$
declare
  us bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  fraction int := ((us % 1000) * 4096 / 1000)::int;
begin
  return encode(
    set_byte(
      set_byte(
        overlay(uuid_send(gen_random_uuid()) placing substring(int8send(us / 1000) from 3) from 1 for 6),
        6, 112 | (fraction >> 8)),
      7, fraction & 255),
    'hex')::uuid;
end
$$;


--
-- Name: FUNCTION uuid_v7(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.uuid_v7() IS 'A new id that sorts by the time it was made, to the microsecond (UUID version 7).';


SET default_tablespace = '';

SET default_table_access_method = heap;

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

COMMENT ON COLUMN public.conversations.extra IS 'memory, summary, fresh_since (the contact started over), paused (time: the agent is silent for pause_hours from it), handoff, archived, pinned, default_agent_id, assigned_agent_id (to whom another agent passed it). Updates merge; a JSON null removes a key.';


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
    extra jsonb,
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
-- Name: COLUMN messages.extra; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.messages.extra IS 'What the provider told besides: pricing, conversation, recipients (of a group: participant → state → time), edits (earlier contents), payments, callback_data. Updates merge.';


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

COMMENT ON COLUMN public.organizations.extra IS 'Settings: response_delay_seconds (3), welcome_message, authorized_contacts_only, default_agent_id, pause_hours (12), time_zone (UTC), limits, media_preprocessing, error_messages_direction. Updates merge; a JSON null removes a key.';


--
-- Name: agent_gate(public.organizations, public.conversations, public.agents, public.messages, boolean, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.agent_gate(o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  reached text;
begin
  if bus.is_paused(c.extra, bus.pause_of(o.extra)) and not p_last_words then
    perform bus.drop_calls(c, 'a person has taken over');
    return 'paused: a person has taken over';
  elsif o.extra -> 'authorized_contacts_only' = 'true' and c.service <> 'local' and not p_known then
    return 'authorized_contacts_only: not in the address book';
  elsif a.id is null then
    return 'no active agent';
  elsif newest."timestamp" < now() - interval '24 hours' and c.service <> 'local' and not exists (
    select from bus.calls k where k.organization_id = c.organization_id and k.conversation_id = c.id)
    and not exists (
      -- Something came of an approval, or of another agent's task, since.
      select from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id and m."timestamp" > now() - interval '10 minutes' and m.direction = 'internal') then
    return 'the 24-hour window is closed';
  end if;
  -- What has been decided is done; the limit is for what comes next.
  if not exists (select from bus.calls k where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state <> 'asked') then
    reached := bus.limit_reached(o, a, c.id, '{turns,tokens,cost}');
    if reached is null and not exists (
      -- Who has just called may still answer.
      select from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id and m."timestamp" >= newest.created_at and m.content #>> '{tool,event}' = 'result') then
      reached := bus.limit_reached(o, a, c.id, '{tool_calls}');
    end if;
  end if;
  if reached is not null then
    if coalesce(bus.as_time(c.extra #>> '{handoff,requested_at}'), '-infinity') < date_trunc('day', now() at time zone 'utc') at time zone 'utc' then
      perform bus.hand_over(c, a.id, 'a limit is reached: ' || reached, null, false);
    end if;
    return 'a limit is reached: ' || reached;
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION agent_gate(o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_gate(o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean) IS 'Why the agent keeps quiet; null when it may answer. A limit that is reached is told to people.';


--
-- Name: agent_history(public.conversations); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.agent_history(c public.conversations) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  return (
    -- In the order of arrival: providers' times are whole seconds, so by them a question that came right after an answer
    -- would stand before it. What was imported later keeps its own time. What a summary covers is left to it.
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', x.id, 'external_id', x.external_id, 'direction', x.direction, 'content', x.content, 'deleted', x.status ? 'deleted',
        'agent_id', x.agent_id, 'program', x.agent_id is null and x.status ? 'pending', 'timestamp', x."timestamp", 'extra', case when x.direction = 'internal' or x.extra ?| '{answers,tool}' then x.extra end,
        'author', case when x.direction = 'incoming' then case when c.group_address is not null then (
            select coalesce(k.name, a.extra ->> 'name', x.contact_address) from public.contacts_addresses a
            left join public.contacts k on k.organization_id = a.organization_id and k.id = a.contact_id
            where a.organization_id = x.organization_id and a.service = x.service and a.address = x.contact_address) end
          else (select g.name from public.agents g where g.organization_id = x.organization_id and g.id = x.agent_id) end,
        'person', case when x.agent_id is not null then (select not g.ai from public.agents g where g.organization_id = x.organization_id and g.id = x.agent_id) end
      ) order by x.arrived, x.id), '[]')
    from (
      select m.*, case when m.created_at < m."timestamp" + interval '10 minutes' then m.created_at else m."timestamp" end as arrived
      from public.messages m
      where m.organization_id = c.organization_id and m.conversation_id = c.id
        -- The provider's clock may be a little ahead of ours; what lies further ahead is scheduled.
        and m."timestamp" > greatest(now() - interval '30 days', coalesce(bus.as_time(c.extra #>> '{summary,until}'), '-infinity'), coalesce(bus.as_time(c.extra ->> 'fresh_since'), '-infinity'))
        and m."timestamp" <= clock_timestamp() + case when m.direction = 'incoming' then interval '1 hour' else '0' end
      order by m."timestamp" desc, m.id desc limit 200
    ) x);
end
$$;


--
-- Name: FUNCTION agent_history(c public.conversations); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_history(c public.conversations) IS 'The newest 200 messages of the last 30 days that no summary covers, in the order of arrival. program: sent by no agent and no person; author: who, where it is not the contact.';


--
-- Name: agent_window(public.conversations); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.agent_window(c public.conversations) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  if c.service <> 'whatsapp' or c.group_address is not null
    or exists (
      -- The usual case: somebody has just written.
      select from bus.windows w
      where (w.organization_id, w.organization_address, w.contact_address) = (c.organization_id, c.organization_address, c.contact_address)
        and w.opened_at > now() - interval '23 hours')
    or not public.window_is_closed(c.organization_id, c.organization_address, c.contact_address)
  then
    return null;
  end if;
  return jsonb_build_object('templates', coalesce((
    select jsonb_agg(jsonb_build_object('name', t.name, 'language', t.language, 'components', t.components) order by t.name, t.language)
    from (
      select * from public.templates t
      where t.organization_id = c.organization_id and t.status = 'APPROVED'
        and t.waba_id = (select n.extra ->> 'waba_id' from public.organizations_addresses n where n.organization_id = c.organization_id and n.address = c.organization_address)
      order by t.name, t.language limit 30) t), '[]'));
end
$$;


--
-- Name: FUNCTION agent_window(c public.conversations); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.agent_window(c public.conversations) IS 'Null while free-form answers get through; otherwise the approved templates, which still do.';


--
-- Name: answer(public.conversations, uuid, jsonb, public.direction, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.answer(c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb DEFAULT NULL::jsonb) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_first uuid;
  v_id uuid;
  v_content jsonb;
  v_thread text;
begin
  if c.service not in ('whatsapp', 'instagram', 'local') then
    -- Where channels have threads, the answer goes into that of the newest question.
    select m.thread_id into v_thread from public.messages m
    where m.organization_id = c.organization_id and m.conversation_id = c.id and m.direction = 'incoming' order by m."timestamp" desc, m.id desc limit 1;
  end if;
  for v_content in select x from jsonb_array_elements(p_contents) x loop
    -- The database's clock: each is a little later than the one before.
    insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                                 group_address, thread_id, content, extra, status, "timestamp")
    values (c.organization_id, c.id, p_direction, p_agent, c.contact_address, c.service, c.organization_address, c.group_address, v_thread,
      bus.complete_content(c.organization_id, v_content), p_extra, case when p_direction = 'outgoing' then jsonb_build_object('pending', now()) else '{}' end,
      clock_timestamp())
    returning id into v_id;
    v_first := coalesce(v_first, v_id);
  end loop;
  return v_first;
end
$$;


--
-- Name: FUNCTION answer(c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.answer(c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb) IS 'Stores messages of an agent in their order; returns the first one''s id. p_extra: {answers: [the messages it had seen]}, or {tool} of a tool that wrote.';


--
-- Name: answers(public.agents, public.conversations); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.answers(a public.agents, c public.conversations) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
  select a.ai and (coalesce(a.extra ->> 'mode', 'active') = 'active'
    or (c.service = 'local' and (a.extra ->> 'mode' = 'draft' or a.id::text = c.extra ->> 'default_agent_id')))
$$;


--
-- Name: FUNCTION answers(a public.agents, c public.conversations); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.answers(a public.agents, c public.conversations) IS 'Whether an agent may answer in a conversation. Drafts do in local chats only; an inactive one only where a local chat names it.';


--
-- Name: apply_change(uuid, text, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  m public.messages;
  moment timestamptz := (p_change ->> 'timestamp')::timestamptz;
  later jsonb;
begin
  select * into m from public.messages x
  where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id) for no key update;
  if not found then
    return false;
  end if;
  if p_change -> 'patch' is null then
    update public.messages x set status = jsonb_build_object('deleted', moment)
    where x.organization_id = m.organization_id and x.id = m.id and not x.status ? 'deleted';
    return true;
  end if;
  select e into later from jsonb_array_elements(case when jsonb_typeof(m.extra -> 'edits') = 'array' then m.extra -> 'edits' else '[]' end) e
  where bus.as_time(e ->> 'at') >= moment order by bus.as_time(e ->> 'at') limit 1;
  if later is null then
    -- The earlier text stays, with the time at which it was replaced.
    update public.messages x set
      content = p_change -> 'patch',
      status = jsonb_build_object('edited', moment),
      extra = jsonb_build_object('edits', case when jsonb_typeof(m.extra -> 'edits') = 'array' then m.extra -> 'edits' else '[]' end || jsonb_build_object(
        'at', moment, 'before', (select coalesce(jsonb_object_agg(k, m.content -> k), '{}') from jsonb_object_keys(p_change -> 'patch') k)))
    where x.organization_id = m.organization_id and x.id = m.id;
  elsif bus.as_time(later ->> 'at') > moment then
    -- An older edit that comes after a newer one is only remembered: it is what the newer one replaced.
    update public.messages x set extra = jsonb_build_object('edits', (
      select jsonb_agg(e order by bus.as_time(e ->> 'at')) from (
        select case when e = later then e || jsonb_build_object('before', p_change -> 'patch') else e end as e
        from jsonb_array_elements(m.extra -> 'edits') e
        union all select jsonb_build_object('at', moment, 'before', later -> 'before')) all_edits))
    where x.organization_id = m.organization_id and x.id = m.id;
  end if;
  return true;
end
$$;


--
-- Name: FUNCTION apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb) IS 'An edit ({patch, timestamp}) or a revocation ({timestamp}) of a message. False when there is no such message. An older edit never replaces a newer.';


--
-- Name: orphans; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.orphans (
    organization_id uuid NOT NULL,
    organization_address text NOT NULL,
    external_id text NOT NULL,
    status jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changes jsonb,
    extra jsonb
);


--
-- Name: TABLE orphans; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.orphans IS 'Receipts, edits and revocations that came before their message. Applied when the message gets its external_id.';


--
-- Name: apply_early(bus.orphans); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.apply_early(o bus.orphans) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.messages m set status = o.status, extra = coalesce(o.extra, m.extra)
  where (m.organization_id, m.organization_address, m.external_id) = (o.organization_id, o.organization_address, o.external_id);
  perform bus.apply_change(o.organization_id, o.organization_address, o.external_id, c) from jsonb_array_elements(coalesce(o.changes, '[]')) c;
  return true;
end
$$;


--
-- Name: arrival(text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.arrival(p_address text, p_external_id text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  -- One of 1024 locks: however much one transaction stores, it stays within the server's table of locks.
  select 7700000000 + (hashtextextended(p_address || ' ' || p_external_id, 0) & 1023)
$$;


--
-- Name: FUNCTION arrival(p_address text, p_external_id text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.arrival(p_address text, p_external_id text) IS 'The advisory lock under which a message gets its external_id, and under which it is found to have none yet. Several are taken in ascending order.';


--
-- Name: as_number(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.as_number(p_text text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $_$
  select case when p_text ~ '^-?[0-9]{1,15}([.][0-9]{1,9})?$' then p_text::numeric end
$_$;


--
-- Name: FUNCTION as_number(p_text text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.as_number(p_text text) IS 'A number that somebody wrote into JSON; null when it is none.';


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
-- Name: ask_agent(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.ask_agent(p_organization uuid, p_conversation uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  select 'agent', m.organization_id, p_conversation::text, m.id::text, true
  from public.messages m
  where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'incoming' and m.status ? 'pending'
  order by m."timestamp" desc, m.id desc limit 1
  on conflict (organization_id, queue, key) where single do update set version = t.version + 1, subject = excluded.subject;
  perform bus.ring('agent');
end
$$;


--
-- Name: FUNCTION ask_agent(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.ask_agent(p_organization uuid, p_conversation uuid) IS 'Asks for an answer to the newest message of a conversation.';


--
-- Name: ask_profile(uuid, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.ask_profile(p_organization uuid, p_account text, p_contact text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- At most once a day for each, whatever comes of it.
  update public.contacts_addresses a set extra = jsonb_build_object('name_fetched_at', now())
  where (a.organization_id, a.service, a.address) = (p_organization, 'instagram', p_contact)
    and coalesce(bus.as_time(a.extra ->> 'name_fetched_at') < now() - interval '1 day', true);
  if found then
    -- By the account he wrote to: for another one he has another id.
    perform public.operate(p_organization, p_account, 'contact_profile', jsonb_build_object('contact_address', p_contact));
  end if;
end
$$;


--
-- Name: FUNCTION ask_profile(p_organization uuid, p_account text, p_contact text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.ask_profile(p_organization uuid, p_account text, p_contact text) IS 'Asks who somebody on Instagram is.';


--
-- Name: ask_summary(public.conversations, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.ask_summary(c public.conversations, p_agent uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_rows bigint;
  v_bytes bigint;
begin
  select count(*), sum(pg_column_size(x.content)) into v_rows, v_bytes
  from (
    select m.content from public.messages m
    where m.organization_id = c.organization_id and m.conversation_id = c.id
      and m."timestamp" > greatest(now() - interval '30 days', coalesce(bus.as_time(c.extra #>> '{summary,until}'), '-infinity'), coalesce(bus.as_time(c.extra ->> 'fresh_since'), '-infinity'))
    order by m."timestamp" desc limit 160) x;
  if v_rows >= 120 or v_bytes > 48000 then
    perform bus.enqueue('summarise', c.organization_id, c.id::text, p_agent::text);
  end if;
end
$$;


--
-- Name: FUNCTION ask_summary(c public.conversations, p_agent uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.ask_summary(c public.conversations, p_agent uuid) IS 'Asks for a summary when the messages that none covers have become many (120) or long (48 kB): well before the context has no room for them.';


--
-- Name: await_uploads(bus.claimed[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.await_uploads(p_claimed bus.claimed[]) RETURNS bus.claimed[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  c bus.claimed;
  ready bus.claimed[] := '{}';
  asked boolean := false;
begin
  foreach c in array p_claimed loop
    if c.waits_for is null or c.suspect or exists (
      select from storage.uploads u
      where (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, c.lane, c.waits_for)
        and u.expires_at > now() + interval '1 minute' * (u.error is null)::int)
    then
      ready := ready || c;
      continue;
    end if;
    update bus.tasks t set worker = null, waiting = true, run_at = clock_timestamp() + interval '10 minutes'
    where (t.organization_id, t.queue, t.key, t.id) = (c.organization_id, c.queue, c.key, c.id);
    insert into bus.tasks as t (queue, organization_id, key, subject, single)
    select 'upload', c.organization_id, c.waits_for || ' ' || md5(c.lane), jsonb_build_object(
      'lane', c.lane, 'upload_key', c.waits_for, 'name', storage.name_of(m.content #>> '{file,uri}'), 'mime_type', m.content #>> '{file,mime_type}')::text, true
    from public.messages m where m.organization_id = c.organization_id and m.id = c.subject::uuid
    -- One that is about to end runs once more, so that it sees us.
    on conflict (organization_id, queue, key) where single do update set version = t.version + 1;
    asked := true;
  end loop;
  if asked then
    perform bus.ring('upload');
  end if;
  return ready;
end
$$;


--
-- Name: FUNCTION await_uploads(p_claimed bus.claimed[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.await_uploads(p_claimed bus.claimed[]) IS 'Of claimed sends, those whose file the provider has. The others ask for the upload and wait for its end, keeping their place.';


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
-- Name: bindings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.bindings (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    agent_id uuid NOT NULL,
    service public.service,
    organization_address text,
    contact_address text,
    group_address text,
    text_regex text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE bindings; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.bindings IS 'Which AI agent answers what: rules are tried by position, the first that matches wins; without a match the defaults decide. A column that is null matches everything.';


--
-- Name: COLUMN bindings.organization_address; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.bindings.organization_address IS 'The number that was written to: its id, or its phone number in digits.';


--
-- Name: COLUMN bindings.contact_address; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.bindings.contact_address IS 'Who wrote: his address, or his phone number in digits.';


--
-- Name: COLUMN bindings.text_regex; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.bindings.text_regex IS 'Matched, without regard to case, against the text of the newest message (or a file''s caption). PostgreSQL''s regular expressions without back-references, at most 500 characters.';


--
-- Name: binding_matches(public.bindings, public.conversations, public.messages); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.binding_matches(b public.bindings, c public.conversations, m public.messages) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  -- What is not known matches nothing.
  select coalesce((b.service is null or b.service = c.service)
    and (b.organization_address is null or b.organization_address = c.organization_address or bus.digits(b.organization_address) = (
      select n.extra ->> 'phone_number' from public.organizations_addresses n
      where n.organization_id = c.organization_id and n.address = c.organization_address))
    and (b.group_address is null or b.group_address = c.group_address)
    and (b.contact_address is null or bus.digits(b.contact_address) = coalesce(m.contact_address, c.contact_address)
      or bus.digits(b.contact_address) = (
        select a.extra ->> 'phone_number' from public.contacts_addresses a
        where a.organization_id = c.organization_id and a.service = c.service and a.address = coalesce(m.contact_address, c.contact_address)))
    and (b.text_regex is null or left(coalesce(m.content ->> 'text', ''), 4000) ~* b.text_regex), false)
$$;


--
-- Name: FUNCTION binding_matches(b public.bindings, c public.conversations, m public.messages); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.binding_matches(b public.bindings, c public.conversations, m public.messages) IS 'Whether a rule is about this message.';


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
-- Name: choose_agent(public.organizations, public.conversations, public.messages); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.choose_agent(o public.organizations, c public.conversations, m public.messages) RETURNS public.agents
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  a public.agents;
  b public.bindings;
begin
  -- Whom another agent passed the conversation to; a test chat has the one it was opened with.
  if c.extra ? 'assigned_agent_id' then
    select * into a from public.agents x where x.organization_id = o.id and x.id::text = c.extra ->> 'assigned_agent_id' and bus.answers(x, c);
    if found then
      return a;
    end if;
  end if;
  if not (c.service = 'local' and c.extra ? 'default_agent_id') then
    for b in select * from public.bindings x where x.organization_id = o.id order by x.position, x.id loop
      continue when not bus.binding_matches(b, c, m);
      select * into a from public.agents x where x.organization_id = o.id and x.id = b.agent_id and bus.answers(x, c);
      if found then
        return a;
      end if;
    end loop;
  end if;
  -- The conversation's choice, then the number's, then the organization's, then the oldest.
  select * into a from public.agents x
  where x.organization_id = o.id and bus.answers(x, c)
  order by x.id::text is not distinct from c.extra ->> 'default_agent_id' desc,
    x.id::text is not distinct from (
      select n.extra ->> 'default_agent_id' from public.organizations_addresses n
      where n.organization_id = o.id and n.address = c.organization_address) desc,
    x.id::text is not distinct from o.extra ->> 'default_agent_id' desc,
    coalesce(x.extra ->> 'mode', 'active') = 'active' desc, x.created_at, x.id
  limit 1;
  return a;
end
$$;


--
-- Name: FUNCTION choose_agent(o public.organizations, c public.conversations, m public.messages); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.choose_agent(o public.organizations, c public.conversations, m public.messages) IS 'The AI agent that answers a message, or null: whom the conversation was passed to, the first rule that matches, then the defaults.';


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
    waiting = false,
    worker = p_worker
  where t.ctid = any (tids)
  returning t.queue, t.organization_id, t.key, t.id, t.lane, t.subject, t.attempt, t.version, t.suspect, t.held_since, t.waits_for;
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
  k bus.claimed;
  payload jsonb;
begin
  for k in select * from bus.claim('agent', p_worker, p_limit, p_after, p_awake) loop
    begin
      payload := bus.agent_context(k.organization_id, k.key::uuid, k.subject::uuid);
    exception
      when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
        raise;
      when others then
        -- One conversation's trouble must not stop the others.
        payload := jsonb_build_object('error', sqlerrm);
    end;
    if payload ? 'wait' then
      perform bus.set_aside(k.organization_id, k.key, k.id, payload ->> 'for', (payload ->> 'wait')::float8);
      continue;
    end if;
    return next row(k.queue, k.organization_id, k.key, k.id, k.lane, k.attempt, k.version, payload)::bus.job;
  end loop;
end
$$;


--
-- Name: FUNCTION claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_agent(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims conversations in which a step is due, each with its context.';


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
  if exists (select from unnest(claimed) c where c.waits_for is not null) then
    claimed := bus.await_uploads(claimed);
  end if;
  if exists (select from unnest(claimed) c where c.suspect) then
    perform bus.hold_suspects(array(select c::bus.claimed from unnest(claimed) c where c.suspect));
  end if;
  return query
  select c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version,
    jsonb_build_object(
      'message_id', m.id, 'content', m.content, 'contact_address', m.contact_address, 'group_address', m.group_address,
      'phone_number', a.extra ->> 'phone_number', 'bsuid', a.extra ->> 'bsuid', 'service', m.service,
      'record', case when m.service not in ('whatsapp', 'instagram') then to_jsonb(m) end,
      'media_id', u.media_id, 'media_error', u.error,
      'window_closed', case when m.service = 'whatsapp' and m.content ->> 'kind' <> 'template' and m.group_address is null
        -- public.window_is_closed, written out: it is asked for every message.
        then case when w.opened_at is not null then w.opened_at < now() - interval '23 hours 59 minutes'
                  else coalesce(n.extra ->> 'environment', 'production') <> 'development'
                    and case when n.extra ? 'connected_at' then coalesce(bus.as_time(n.extra ->> 'connected_at'), n.created_at) else n.created_at end
                      < now() - interval '24 hours' end end,
      'credential', case when k.path is not null then secrets.as_json(k) end)
  from unnest(claimed) c
  join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
  left join secrets.credentials k
    on (k.organization_id, k.subject, k.subject_key, k.path) = (m.organization_id, 'organizations_addresses', m.organization_address, 'access_token')
  left join public.contacts_addresses a
    on a.organization_id = m.organization_id and a.service = m.service and a.address = m.contact_address
  left join public.organizations_addresses n on n.organization_id = m.organization_id and n.address = m.organization_address
  left join bus.windows w
    on (w.organization_id, w.organization_address, w.contact_address) = (m.organization_id, m.organization_address, m.contact_address)
  left join storage.uploads u
    on c.waits_for is not null and (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, c.lane, c.waits_for)
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

CREATE FUNCTION bus.claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS TABLE(queue text, organization_id uuid, key text, id bigint, lane text, attempt integer, version integer, payload bytea, source text)
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


--
-- Name: FUNCTION claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_intake(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims journal entries with their bodies.';


--
-- Name: claim_manage(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_manage(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select c::bus.claimed from bus.claim('manage', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, c.lane, c.attempt, c.version,
    case when o.id is not null then to_jsonb(o) || jsonb_build_object(
      'number', to_jsonb(a),
      'credential', secrets.get(o.organization_id, 'organizations_addresses', o.organization_address, 'access_token'),
      'secrets', (select jsonb_object_agg(k.path, secrets.as_json(k)) from secrets.credentials k
                  where (k.organization_id, k.subject, k.subject_key) = (o.organization_id, 'operations', o.id::text)),
      'pin', secrets.get(o.organization_id, 'organizations_addresses', o.organization_address, 'pin'),
      'agent', case when o.kind = 'template_draft' then to_jsonb(g) end,
      'agent_credential', case when o.kind = 'template_draft' then secrets.get(o.organization_id, 'agents', g.id::text, 'api_key') end,
      'template', (select to_jsonb(t) from public.templates t where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id')) end
  from unnest(claimed) c
  left join public.operations o on o.organization_id = c.organization_id and o.id = c.subject::uuid and o.finished_at is null
  left join public.organizations_addresses a on a.organization_id = o.organization_id and a.address = o.organization_address
  left join lateral (
    select * from public.agents x where x.organization_id = o.organization_id and x.ai and o.kind = 'template_draft' order by x.created_at limit 1) g on true;
end
$$;


--
-- Name: FUNCTION claim_manage(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_manage(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims operations with all they need.';


--
-- Name: claim_media(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_media(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
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
  claimed := array(select c::bus.claimed from bus.claim('media', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, coalesce(m.organization_address, c.lane), c.attempt, c.version,
    jsonb_build_object('message_id', m.id, 'service', m.service, 'kind', m.content ->> 'kind', 'file', m.content -> 'file',
      -- Meta keeps what came in for seven days.
      'expired', coalesce(m."timestamp" < now() - interval '7 days' and m.created_at < now() - interval '1 day', false),
      'credential', secrets.get(c.organization_id, 'organizations_addresses', m.organization_address, 'access_token'))
  from unnest(claimed) c
  left join public.messages m on m.organization_id = c.organization_id and m.id = c.subject::uuid
    and m.content ->> 'type' = 'file' and m.content #>> '{file,uri}' not like 'internal://%' and not m.status ? 'deleted';
end
$$;


--
-- Name: FUNCTION claim_media(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_media(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims files to fetch. lane is the number; a payload without a message has nothing to fetch.';


--
-- Name: claim_preprocess(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_preprocess(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select k::bus.claimed from bus.claim('preprocess', p_worker, p_limit, p_after, p_awake) k);
  update public.messages m set status = jsonb_build_object('preprocessing', clock_timestamp())
  from unnest(claimed) k
  where m.organization_id = k.organization_id and m.id = k.subject::uuid and not m.status ? 'preprocessing';
  return query
  select k.queue, k.organization_id, k.key, k.id, k.lane, k.attempt, k.version, case when m.id is not null then jsonb_build_object(
    'message_id', m.id, 'kind', m.content ->> 'kind', 'file', m.content -> 'file', 'size', f.size, 'name', f.name,
    'reader', bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}'),
    'settings', o.extra -> 'media_preprocessing',
    'credential', secrets.get(k.organization_id, 'organizations', k.organization_id::text, 'media_preprocessing.api_key')) end
  from unnest(claimed) k
  left join public.messages m on m.organization_id = k.organization_id and m.id = k.subject::uuid and not m.status ? 'deleted'
  left join public.organizations o on o.id = k.organization_id
  left join storage.objects f on f.organization_id = k.organization_id and f.bucket_id = 'media' and f.state = 'ready'
    and f.name = storage.name_of(m.content #>> '{file,uri}');
end
$$;


--
-- Name: FUNCTION claim_preprocess(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_preprocess(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims files to read.';


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
      'external_id', m.external_id, 'service', m.service, 'contact_address', m.contact_address,
      'record', case when m.service not in ('whatsapp', 'instagram') then to_jsonb(m) end,
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
-- Name: claim_summarise(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_summarise(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select k::bus.claimed from bus.claim('summarise', p_worker, p_limit, p_after, p_awake) k);
  return query
  select k.queue, k.organization_id, k.key, k.id, k.lane, k.attempt, k.version, case when a.id is not null and c.id is not null then jsonb_build_object(
    'organization', jsonb_build_object('id', o.id, 'name', o.name, 'extra', o.extra),
    'conversation', jsonb_build_object('id', c.id, 'service', c.service, 'organization_address', c.organization_address,
      'contact_address', c.contact_address, 'group_address', c.group_address, 'extra', c.extra),
    'contact', '{}'::jsonb,
    'agent', jsonb_build_object('id', a.id, 'name', a.name, 'extra', a.extra),
    'credentials', (
      select jsonb_object_agg(s.path, secrets.as_json(s)) from secrets.credentials s
      where s.organization_id = k.organization_id and s.subject = 'agents' and s.subject_key = a.id::text),
    'messages', bus.agent_history(c)) end
  from unnest(claimed) k
  left join public.conversations c on c.organization_id = k.organization_id and c.id = k.key::uuid
  left join public.organizations o on o.id = k.organization_id
  left join public.agents a on a.organization_id = k.organization_id and a.id = k.subject::uuid;
end
$$;


--
-- Name: FUNCTION claim_summarise(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_summarise(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims conversations to summarise, each with its history.';


--
-- Name: claim_sweep(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_sweep(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select c::bus.claimed from bus.claim('sweep', p_worker, p_limit, p_after, p_awake) c);
  return query
  select t.queue, t.organization_id, t.key, t.id, t.lane, t.attempt, t.version,
    -- Stored again meanwhile: it stays.
    jsonb_build_object('name', case when not exists (
      select from storage.objects o where o.organization_id = split_part(t.subject, '/', 2)::uuid and o.name = t.subject) then t.subject end)
  from unnest(claimed) t;
end
$$;


--
-- Name: FUNCTION claim_sweep(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_sweep(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims files to remove from the store.';


--
-- Name: claim_upload(uuid, integer, uuid, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.claim_upload(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) RETURNS SETOF bus.job
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  claimed bus.claimed[];
begin
  claimed := array(select c::bus.claimed from bus.claim('upload', p_worker, p_limit, p_after, p_awake) c);
  return query
  select c.queue, c.organization_id, c.key, c.id, w.what ->> 'lane', c.attempt, c.version,
    jsonb_build_object('upload_key', w.what ->> 'upload_key', 'name', o.name, 'size', o.size, 'file_name', o.file_name,
      'mime_type', coalesce(nullif(w.what ->> 'mime_type', ''), o.mime_type), 'media_id', u.media_id,
      'credential', secrets.get(c.organization_id, 'organizations_addresses', w.what ->> 'lane', 'access_token'))
  from unnest(claimed) c
  cross join lateral (select c.subject::jsonb as what) w
  left join storage.objects o on o.organization_id = c.organization_id and o.bucket_id = 'media' and o.name = w.what ->> 'name' and o.state = 'ready'
  left join storage.uploads u on (u.organization_id, u.organization_address, u.upload_key) = (c.organization_id, w.what ->> 'lane', w.what ->> 'upload_key')
    and u.expires_at > now() + interval '1 minute' and u.error is null;
end
$$;


--
-- Name: FUNCTION claim_upload(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.claim_upload(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) IS 'Claims files to give to the provider. lane is the number.';


--
-- Name: complete_content(uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.complete_content(p_organization uuid, p_content jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  f storage.objects;
  v_name text := storage.name_of(p_content #>> '{file,uri}');
begin
  if p_content ->> 'type' <> 'file' then
    return p_content;
  elsif v_name is null then
    f.mime_type := coalesce(p_content #>> '{file,mime_type}', bus.mime_of(p_content #>> '{file,uri}'));
  else
    -- The organization's own files only, whatever a model writes.
    select * into f from storage.objects o
    where o.organization_id = p_organization and o.bucket_id = 'media' and o.name = v_name and o.state = 'ready';
    if f.name is null then
      raise exception 'there is no file %', p_content #>> '{file,uri}' using errcode = '23503';
    end if;
  end if;
  return p_content || jsonb_build_object(
    'kind', case when f.mime_type in ('image/jpeg', 'image/png') then 'image' when f.mime_type like 'audio/%' then 'audio'
                 when f.mime_type in ('video/mp4', 'video/3gpp') then 'video' else 'document' end,
    'file', (p_content -> 'file') || jsonb_strip_nulls(jsonb_build_object('mime_type', f.mime_type, 'size', f.size,
      'name', coalesce(p_content #>> '{file,name}', f.file_name))));
end
$$;


--
-- Name: FUNCTION complete_content(p_organization uuid, p_content jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.complete_content(p_organization uuid, p_content jsonb) IS 'A file that an agent sends, with its type, size and kind. 23503 when it is said to be stored and the organization has no such file.';


--
-- Name: complete_messages(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.complete_messages(p_events jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update public.messages m set status = e.status
  from (
    select x.organization_id, x.address, x.external_id, jsonb_object_agg(s.key, s.value) as status
    from jsonb_to_recordset(p_events) as x (organization_id uuid, address text, external_id text, status jsonb), jsonb_each(x.status) s
    group by 1, 2, 3) e
  where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id)
    and not m.status ? 'pending' and not m.status @> e.status;
  with came as (
    update public.messages m set content = e.content || '{"data": null}'
    from jsonb_to_recordset(p_events) as e (organization_id uuid, address text, external_id text, content jsonb)
    where (m.organization_id, m.organization_address, m.external_id) = (e.organization_id, e.address, e.external_id)
      and m.content ->> 'kind' = 'media_placeholder' and e.content ->> 'type' = 'file'
    returning m.*
  )
  select bus.fetch_media(came.organization_id, came.id) from came
$$;


--
-- Name: FUNCTION complete_messages(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.complete_messages(p_events jsonb) IS 'What was imported before and is told again: states add up, and files of a phone''s history take the place of the placeholders that came with their threads.';


--
-- Name: conversation_with(public.conversations, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.conversation_with(c public.conversations, p_contact text) RETURNS public.conversations
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  x public.conversations;
  v_addresses text[] := array[bus.digits(p_contact)];
begin
  if c.service = 'whatsapp' then
    v_addresses := v_addresses || array(
      select a.address from public.contacts_addresses a
      where a.organization_id = c.organization_id and a.service = 'whatsapp' and a.extra ->> 'phone_number' = bus.digits(p_contact) limit 10);
  end if;
  select * into x from public.conversations y
  where y.organization_id = c.organization_id and y.service = c.service and y.status = 'active' and y.group_address is null
    and y.contact_address = any (v_addresses)
  order by y.organization_address = c.organization_address desc, y.updated_at desc limit 1;
  return x;
end
$$;


--
-- Name: FUNCTION conversation_with(c public.conversations, p_contact text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.conversation_with(c public.conversations, p_contact text) IS 'The active conversation of the same organization and service with a contact, by address or phone number.';


--
-- Name: cost(text, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.cost(p_provider text, p_model text, u jsonb) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  return (
    -- The parts that have a price of their own; the rest of what was read and written by the plain one.
    select ((n.input - n.cache_read - n.cache_write - n.audio_input) * p.input + n.cache_read * coalesce(p.cache_read, p.input)
        + n.cache_write * coalesce(p.cache_write, p.input) + n.audio_input * coalesce(p.audio_input, p.input)
        + (n.output - n.reasoning - n.audio_output) * p.output + n.reasoning * coalesce(p.reasoning, p.output)
        + n.audio_output * coalesce(p.audio_output, p.output)) / c.quantity
    from billing.costs c
    cross join jsonb_to_record(c.pricing) p (input numeric, cache_read numeric, cache_write numeric, audio_input numeric, output numeric, reasoning numeric, audio_output numeric)
    cross join lateral (
      select coalesce(x.input, 0) as input, coalesce(x.cache_read, 0) as cache_read, coalesce(x.cache_write, 0) as cache_write,
        coalesce(x.audio_input, 0) as audio_input, coalesce(x.output, 0) as output, coalesce(x.reasoning, 0) as reasoning, coalesce(x.audio_output, 0) as audio_output
      from jsonb_to_record(u) x (input numeric, cache_read numeric, cache_write numeric, audio_input numeric, output numeric, reasoning numeric, audio_output numeric)) n
    where c.provider = p_provider and c.product = p_model and c.effective_at <= now()
    order by c.effective_at desc limit 1);
end
$$;


--
-- Name: FUNCTION cost(p_provider text, p_model text, u jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.cost(p_provider text, p_model text, u jsonb) IS 'What a call cost in US dollars by the newest price in force; null when the model has none. u: tokens by kind, as a reply''s usage.';


--
-- Name: digits(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.digits(p_text text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $_$
  select case when p_text ~ '^[+0-9 ().-]+$' then regexp_replace(p_text, '[^0-9]', '', 'g') else p_text end
$_$;


--
-- Name: FUNCTION digits(p_text text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.digits(p_text text) IS 'A phone number as people write it, in digits; anything else as it is.';


--
-- Name: drop_calls(public.conversations, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.drop_calls(c public.conversations, p_reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb('not called: ' || p_reason))
  from bus.calls k
  where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state = 'ready' and not k.approved;
end
$$;


--
-- Name: FUNCTION drop_calls(c public.conversations, p_reason text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.drop_calls(c public.conversations, p_reason text) IS 'Calls that nobody has begun are taken back, and say why. Those that a person granted stay.';


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
-- Name: event_types(); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.event_types() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  -- People before what they said, what was said before what became of it.
  select array['contact', 'sync', 'message', 'status', 'edit', 'revoke', 'rename', 'group', 'progress', 'number', 'account', 'template', 'log']
$$;


--
-- Name: FUNCTION event_types(); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.event_types() IS 'The types of events, in the order in which they are stored.';


--
-- Name: expire_questions(public.conversations); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.expire_questions(c public.conversations) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform set_config('tidings.expiring', 'on', true);
  update public.approvals a set state = 'expired'
  where a.organization_id = c.organization_id and a.id in (
    select x.id from public.approvals x
    where x.organization_id = c.organization_id and x.conversation_id = c.id and x.state = 'pending' and x.expires_at <= clock_timestamp()
    -- Whoever decides at this very moment is first.
    for update skip locked);
  perform set_config('tidings.expiring', 'off', true);
end
$$;


--
-- Name: FUNCTION expire_questions(c public.conversations); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.expire_questions(c public.conversations) IS 'Questions that nobody decided in time become results that say so.';


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
-- Name: fetch_media(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.fetch_media(p_organization uuid, p_message uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select bus.enqueue('media', p_organization, p_message::text, p_message::text)
$$;


--
-- Name: FUNCTION fetch_media(p_organization uuid, p_message uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.fetch_media(p_organization uuid, p_message uuid) IS 'Asks for the file of a message that came in.';


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
  r bus.step;
  t bus.tasks;
  v_again boolean;
begin
  for r in select * from jsonb_populate_recordset(null::bus.step, p_results) x order by x.organization_id, x.key loop
    -- Locked before looking: a message that arrives now waits for us, or we for it. The conversation first, as whoever
    -- takes it over does.
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = r.key::uuid for no key update;
    select * into t from bus.tasks x
    where (x.organization_id, x.queue, x.key, x.id, x.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    v_again := bus.finish_step(r, t);
    if t.version <> r.version or r.outcome = 'again' then
      -- Outdated, or interrupted: the next step begins anew, when the burst is over.
      perform bus.set_aside(r.organization_id, r.key, r.id, null, greatest(0, extract(epoch from t.due_at - clock_timestamp()))::float8);
      continue;
    elsif (v_again or r.after is not null) and coalesce(r.outcome, 'done') = 'done' then
      perform bus.set_aside(r.organization_id, r.key, r.id, case when r.after is not null then 'remote' end,
        case when t.waits_for = 'recall' then 0 else coalesce(r.after, 0) end);
      continue;
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error)));
    -- Where questions are open, the run comes back when the first of them expires, however it ended now.
    insert into bus.tasks (queue, organization_id, key, subject, single, run_at, waits_for)
    select 'agent', r.organization_id, r.key, t.subject, true, clock_timestamp() + make_interval(secs => x.seconds), 'approval'
    from bus.next_expiry(r.organization_id, r.key::uuid) x (seconds) where x.seconds is not null
    on conflict (organization_id, queue, key) where single do nothing;
  end loop;
end
$$;


--
-- Name: FUNCTION finish_agent(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_agent(p_results jsonb) IS 'Ends steps of runs (bus.step each): stores what came of them, and asks for the next step where there is one.';


--
-- Name: finish_dispatch(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_dispatch(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  results bus.sent[] := array(select r from jsonb_populate_recordset(null::bus.sent, p_results) r);
  r bus.sent;
  mine bigint[];
begin
  -- First the locks that keep receipts and messages from missing each other, in one order for everyone.
  perform pg_advisory_xact_lock(h) from (
    select distinct bus.arrival(x.lane, x.external_id) as h
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

  if p_results @? '$[*].learned' then
    perform bus.try_learn(r2.organization_id, r2.learned) from jsonb_to_recordset(p_results) as r2 (organization_id uuid, learned jsonb)
    where r2.learned is not null;
  end if;

  -- The usual case is that no receipt was early.
  if exists (select from bus.orphans) then
    delete from bus.orphans o
    using unnest(results) x
    where x.outcome = 'accepted' and (o.organization_id, o.organization_address, o.external_id) = (x.organization_id, x.lane, x.external_id)
      and bus.apply_early(o);
  end if;

  -- The number answers: whatever was wrong with it is over.
  with well as (
    update bus.lanes l set strikes = 0, resume_at = null, paused_reason = null, updated_at = now()
    from (select distinct x.organization_id, x.lane from unnest(results) x where not coalesce(x.holds, false)) x
    where l.organization_id = x.organization_id and l.lane = x.lane
      and (l.strikes > 0 or l.paused_reason is not null) and l.resume_at is distinct from 'infinity'
    returning l.organization_id, l.lane
  )
  update public.organizations_addresses a set extra = '{"attention": null}'
  from well where (a.organization_id, a.address) = (well.organization_id, well.lane) and a.extra #>> '{attention,by}' = 'sending';

  if exists (select from unnest(results) x where x.outcome <> 'accepted') then
    perform bus.finish_unsent(p_results);
  end if;
end
$_$;


--
-- Name: FUNCTION finish_dispatch(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_dispatch(p_results jsonb) IS 'Writes the outcome of sends back: tasks, messages, receipts that were early, and the health of the number. One statement for a batch.';


--
-- Name: finish_intake(jsonb, jsonb, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  rest jsonb := p_events;
  found_home jsonb;
  kind text;
begin
  if p_adrift <> '{}' then
    found_home := bus.settle(p_adrift);
    select p_events || coalesce(jsonb_object_agg(k.key, coalesce(p_events -> k.key, '[]') || k.value), '{}') into rest from jsonb_each(found_home) k;
  end if;
  -- All at once; and if one of them cannot be stored, in parts, so that it does not hold up its neighbours.
  begin
    perform bus.store_events(rest);
  exception
    when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
      raise;
    when others then
      foreach kind in array bus.event_types() loop
        if rest ? kind then
          perform bus.store_apart(kind, rest -> kind);
        end if;
      end loop;
  end;
  perform bus.finish(p_results);
end
$$;


--
-- Name: FUNCTION finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb) IS 'Stores the events of claimed journal entries and finishes their tasks, in one transaction. p_adrift: those whose organization is not known. What cannot be stored is parked by itself.';


--
-- Name: finish_manage(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_manage(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
  dead boolean;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      operation_id uuid, output jsonb, failure jsonb)
  loop
    if r.operation_id is null then
      -- It panicked, or its row could not be read.
      select t.subject::uuid into r.operation_id from bus.tasks t
      where (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, r.queue, r.key, r.id) and r.outcome is not null;
    end if;
    -- What Meta refused for good is an outcome, told where it was asked for; nothing of it is left to an operator.
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', case when r.outcome = 'dead' then 'done' else r.outcome end, 'after', r.after, 'error', r.error))) = 0;
    dead := r.outcome = 'dead' or exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    continue when r.operation_id is null;
    update public.operations o set
      output = coalesce(r.output, o.output),
      error = case when r.outcome is null then null else coalesce(r.failure, jsonb_build_object('code', 'error', 'title', 'Failed', 'message', r.error)) end,
      state = case when r.outcome is null then 'done' when dead then 'failed' else o.state end,
      finished_at = case when r.outcome is null or dead then clock_timestamp() end
    where o.organization_id = r.organization_id and o.id = r.operation_id;
    if r.outcome is null or dead then
      perform public.after_operation(r.organization_id, r.operation_id);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION finish_manage(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_manage(p_results jsonb) IS 'Writes the outcome of operations back, and what follows from it.';


--
-- Name: finish_media(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_media(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
  conversation uuid;
begin
  for r in
    -- Conversations in one order, as all do who lock several.
    select x.*, m.conversation_id from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      message_id uuid, was text, file jsonb)
    left join public.messages m on m.organization_id = x.organization_id and m.id = x.message_id
    order by x.organization_id, m.conversation_id, x.message_id
  loop
    conversation := r.conversation_id;
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = conversation for no key update;
    perform 1 from bus.tasks t
    where (t.organization_id, t.queue, t.key, t.id, t.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt);
    continue when not found;
    if r.file is not null then
      perform storage.stored(r.organization_id, storage.name_of(r.file ->> 'uri'));
      update public.messages m set content = jsonb_build_object('file', r.file)
      where m.organization_id = r.organization_id and m.id = r.message_id and m.content #>> '{file,uri}' = r.was;
      perform bus.preprocess(r.organization_id, r.message_id);
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error)));
    if r.message_id is not null and exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id)) then
      update public.messages m set status = jsonb_build_object('errors', jsonb_build_array(jsonb_build_object(
        'code', 'media', 'title', 'The file could not be fetched', 'message', left(r.error, 500))))
      where m.organization_id = r.organization_id and m.id = r.message_id;
      perform bus.log_message(r.organization_id, r.message_id, 'error', 'media', 'the file of a message could not be fetched: ' || left(r.error, 500), null);
    end if;
    if r.message_id is not null and coalesce(r.outcome, 'done') <> 'retry' then
      -- Whoever waits to answer looks whether there is more to wait for.
      perform bus.wake_for_media(r.organization_id, conversation);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION finish_media(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_media(p_results jsonb) IS 'Writes fetched files into their messages, or says on the message and in the log why there is none.';


--
-- Name: finish_preprocess(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_preprocess(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
  v_conversation uuid;
begin
  for r in
    -- Conversations in one order, as all do who lock several.
    select x.*, m.conversation_id from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      message_id uuid, was text, artifacts jsonb, usage jsonb)
    left join public.messages m on m.organization_id = x.organization_id and m.id = x.key::uuid
    order by x.organization_id, m.conversation_id, x.key
  loop
    v_conversation := r.conversation_id;
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = v_conversation for no key update;
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error))) = 0;
    if r.usage is not null then
      perform bus.spend(r.organization_id, null, r.message_id, null, 'media', r.usage, 0);
    end if;
    continue when r.outcome = 'retry'
      and not exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    update public.messages m set
      content = case when jsonb_array_length(coalesce(r.artifacts, '[]')) > 0 then jsonb_build_object('artifacts', r.artifacts) else m.content end,
      status = jsonb_build_object('preprocessed', clock_timestamp())
    where m.organization_id = r.organization_id and m.id = r.key::uuid and (r.was is null or m.content #>> '{file,uri}' = r.was);
    if r.error is not null then
      perform bus.log_message(r.organization_id, r.key::uuid, 'warning', 'preprocess', 'a file could not be read: ' || left(r.error, 500), null);
    end if;
    perform bus.wake_for_media(r.organization_id, v_conversation);
  end loop;
end
$$;


--
-- Name: FUNCTION finish_preprocess(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_preprocess(p_results jsonb) IS 'Writes what was found in files into their messages, and lets the agents that waited for it go on.';


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
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    waits_for text,
    waiting boolean DEFAULT false NOT NULL
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
-- Name: COLUMN tasks.waits_for; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.waits_for IS 'dispatch: the upload that must be done first, as storage.upload_key names it. agent: media, approval, or remote (a task of another agent; recall while that is being asked and has called). Its end makes the task due.';


--
-- Name: COLUMN tasks.waiting; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.tasks.waiting IS 'Whether it has been set aside until what it waits for is there.';


--
-- Name: finish_step(bus.step, bus.tasks); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_step(r bus.step, t bus.tasks, OUT again boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  c public.conversations;
  o public.organizations;
  said record;
  v_first uuid;
  v_calls uuid;
  x jsonb;
begin
  again := false;
  select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid for no key update;
  if c.id is null then
    return;
  end if;
  if r.agent_id is not null and not exists (select from public.agents a where a.organization_id = c.organization_id and a.id = r.agent_id) then
    -- Deleted while it thought: what it would have said is nobody's.
    r.agent_id := null;
    r.answer := null;
    r.turn := null;
    r.remote := null;
    again := true;
  end if;
  -- What tools did is a fact, whatever has happened since.
  for x in select e from jsonb_array_elements(r.results) e loop
    again := bus.store_result(c.organization_id, (x ->> 'message_id')::uuid, coalesce((x ->> 'is_error')::boolean, false), x -> 'result') or again;
  end loop;
  update bus.calls k set state = 'ready'
  where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state = 'started'
    and k.message_id::text in (select jsonb_array_elements_text(r.unstarted));
  again := again or found;

  if t.version = r.version and (r.answer is not null or r.turn is not null or r.apology is not null or r.remote is not null or r.forget is not null) then
    select * into o from public.organizations where id = c.organization_id;
    if bus.is_paused(c.extra, bus.pause_of(o.extra)) and not bus.has_last_words(c.extra, coalesce((
      select m.created_at from public.messages m where m.organization_id = c.organization_id and m.id = t.subject::uuid), 'infinity')) then
      perform bus.drop_calls(c, 'a person has taken over');
      again := false;
    else
      if r.forget is not null then
        -- What was before is left behind: no summary brings it back.
        update public.conversations x set extra = jsonb_build_object(
          'memory', null, 'assigned_agent_id', null, 'summary', null, 'fresh_since', r.forget - interval '1 microsecond')
        where x.organization_id = c.organization_id and x.id = c.id;
      end if;
      if r.answer is not null then
        select * into said from bus.say(c, r.agent_id, r.answer, r.seen, bus.agent_window(c) is not null);
        v_first := said.message;
        if said.refusal is not null then
          v_first := bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'data', 'kind', 'refused',
            'data', jsonb_build_object('answer', r.answer, 'reason', left(said.refusal, 1000)), 'text', left(said.refusal, 1000))), 'internal');
          again := true;
        end if;
      end if;
      if r.turn is not null then
        v_calls := bus.store_calls(c, r.agent_id, r.turn);
        v_first := coalesce(v_first, v_calls);
        again := true;
      end if;
      if r.remote is not null then
        v_first := bus.answer(c, r.agent_id, jsonb_build_array(r.remote), 'internal');
      end if;
      if r.apology is not null then
        perform bus.answer(c, r.agent_id, r.apology, 'outgoing');
      end if;
    end if;
  end if;
  if r.usage is not null then
    begin
      perform bus.spend(c.organization_id, c.id, v_first, r.agent_id, 'answer', r.usage, coalesce(jsonb_array_length(r.turn -> 'calls'), 0));
    exception when data_exception or integrity_constraint_violation then
      -- What cannot be booked (a price that is none) must not cost the answer.
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      values (c.organization_id, c.organization_address, 'error', 'usage', c.service, 'a call of a model could not be booked: ' || left(sqlerrm, 500), r.usage);
    end;
  end if;
  if r.error is not null and (r.outcome = 'dead' or (r.outcome = 'retry' and t.version = r.version and t.attempt = 5)) then
    insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
    values (c.organization_id, c.organization_address, case r.outcome when 'dead' then 'error' else 'warning' end::public.log_level, 'agent', c.service, left(r.error, 1000),
      jsonb_build_object('conversation_id', c.id, 'agent_id', r.agent_id));
  end if;
  if r.error is not null and r.outcome = 'dead' then
    perform bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object(
      'version', '1', 'type', 'text', 'kind', 'error', 'text', left(r.error, 1000))), 'internal');
  end if;
  if r.answer is not null and not again then
    perform bus.ask_summary(c, r.agent_id);
  end if;
end
$$;


--
-- Name: FUNCTION finish_step(r bus.step, t bus.tasks, OUT again boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_step(r bus.step, t bus.tasks, OUT again boolean) IS 'Stores what a step came to, unless the conversation has moved on: no newer message, no person, no pause. again: whether another step follows.';


--
-- Name: finish_summarise(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_summarise(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, outcome text, after float8, error text,
      agent_id uuid, summary text, until timestamptz, since text, fresh text, usage jsonb) order by x.organization_id, x.key
  loop
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = r.key::uuid for no key update;
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error))) = 0;
    if r.summary is not null then
      update public.conversations c set extra = jsonb_build_object('summary', jsonb_build_object('text', r.summary, 'until', r.until))
      where c.organization_id = r.organization_id and c.id = r.key::uuid
        -- Not when the contact has started over meanwhile.
        and c.extra #>> '{summary,until}' is not distinct from r.since and c.extra ->> 'fresh_since' is not distinct from r.fresh;
    end if;
    if r.usage is not null then
      perform bus.spend(r.organization_id, r.key::uuid, null, r.agent_id, 'summary', r.usage, 0);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION finish_summarise(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_summarise(p_results jsonb) IS 'Keeps summaries in conversations.extra.summary: {text, until}.';


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
      -- If it was the file, the next one to send it uploads it anew.
      delete from storage.uploads u using public.messages m
      where m.organization_id = r.organization_id and m.id = r.message_id and m.content ->> 'type' = 'file' and u.error is null
        and (u.organization_id, u.organization_address, u.upload_key) = (m.organization_id, m.organization_address, storage.upload_key(m.content -> 'file'));
      if r.status #>> '{errors,0,code}' like '132%' then
        -- What is known of the template here may say more than Meta does.
        update public.messages m set status = jsonb_build_object('errors', jsonb_set(r.status -> 'errors', '{0,hint}', to_jsonb(h)))
        from public.messages x, public.template_hint(x.organization_id, x.organization_address, x.content -> 'data') h
        where x.organization_id = r.organization_id and x.id = r.message_id and h is not null
          and m.organization_id = x.organization_id and m.id = x.id;
      end if;
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
-- Name: finish_upload(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.finish_upload(p_results jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
begin
  for r in
    select * from jsonb_to_recordset(p_results) as x (
      queue text, organization_id uuid, key text, id bigint, attempt int, version int, lane text, outcome text, after float8, error text,
      media_id text, refusal jsonb) order by x.organization_id, x.key
  loop
    -- An outdated outcome must not replace a good one.
    continue when bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error))) = 0;
    continue when r.outcome = 'retry'
      and not exists (select from bus.dead d where (d.organization_id, d.queue, d.id) = (r.organization_id, r.queue, r.id));
    insert into storage.uploads as u (organization_id, organization_address, upload_key, media_id, expires_at, error)
    values (r.organization_id, r.lane, split_part(r.key, ' ', 1), r.media_id,
      -- Graph keeps files for 30 days. A refusal is remembered for as long as those that wait need to learn of it.
      now() + case when r.media_id is not null then interval '29 days' else interval '2 minutes' end,
      case when r.media_id is null then coalesce(r.refusal, jsonb_build_object('code', 'media', 'title', 'Not sent', 'message', left(r.error, 500))) end)
    on conflict (organization_id, organization_address, upload_key) do update
      set media_id = excluded.media_id, expires_at = excluded.expires_at, error = excluded.error, updated_at = now();
    update bus.tasks t set waiting = false, run_at = greatest(t.due_at, clock_timestamp())
    where t.queue = 'dispatch' and t.organization_id = r.organization_id and t.lane = r.lane
      and t.waits_for = split_part(r.key, ' ', 1) and t.waiting and t.worker is null;
    perform bus.ring('dispatch');
  end loop;
end
$$;


--
-- Name: FUNCTION finish_upload(p_results jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.finish_upload(p_results jsonb) IS 'Remembers by which id the provider knows a file, or why it does not take it, and lets those that waited go on.';


--
-- Name: hand_over(public.conversations, uuid, text, text, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean) RETURNS timestamp with time zone
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  moment timestamptz := clock_timestamp();
begin
  update public.conversations x set extra = jsonb_strip_nulls(jsonb_build_object(
    'paused', case when p_pause then moment end,
    'handoff', jsonb_build_object('status', 'requested', 'requested_at', moment, 'requested_by_agent_id', p_agent, 'reason', left(p_reason, 1000), 'note', left(p_note, 4000))))
  where x.organization_id = c.organization_id and x.id = c.id;
  perform bus.answer(c, p_agent, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'data', 'kind', 'handoff', 'data', jsonb_strip_nulls(jsonb_build_object(
    'event', 'human_handoff_requested', 'reason', left(p_reason, 1000), 'note', left(p_note, 4000))))), 'internal');
  insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
  values (c.organization_id, c.organization_address, 'warning', 'handoff', c.service,
    'a person is asked for' || coalesce(': ' || left(p_reason, 900), ''), jsonb_build_object('conversation_id', c.id, 'agent_id', p_agent, 'note', left(p_note, 4000)));
  return moment;
end
$$;


--
-- Name: FUNCTION hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean) IS 'Asks for a person: conversations.extra.handoff, an internal message and a log entry say why. With p_pause the agent is silent from now on.';


--
-- Name: has_last_words(jsonb, timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.has_last_words(p_extra jsonb, p_newest timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  -- The agent handed over itself, and neither a person nor the contact has written since.
  select coalesce(p_extra #>> '{handoff,requested_at}' = p_extra ->> 'paused' and bus.as_time(p_extra ->> 'paused') >= p_newest, false)
$$;


--
-- Name: FUNCTION has_last_words(p_extra jsonb, p_newest timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.has_last_words(p_extra jsonb, p_newest timestamp with time zone) IS 'Whether a paused conversation''s agent may still tell the contact that it hands over.';


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
    update public.organizations_addresses a set extra = jsonb_build_object('attention', jsonb_build_object('by', 'sending', 'at', now(), 'reason', p_reason))
    where a.organization_id = p_organization and a.address = p_lane;
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
-- Name: is_paused(jsonb, interval); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.is_paused(p_extra jsonb, p_pause interval) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  -- What is no time still says that somebody wanted quiet.
  return p_extra ->> 'paused' is not null and coalesce(bus.as_time(p_extra ->> 'paused') > now() - p_pause, true);
end
$$;


--
-- Name: FUNCTION is_paused(p_extra jsonb, p_pause interval); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.is_paused(p_extra jsonb, p_pause interval) IS 'Whether a conversation''s extra.paused is in force: for p_pause from its time.';


--
-- Name: policies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policies (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    name text,
    service public.service,
    agent_id uuid,
    tool text,
    effect text,
    decision text NOT NULL,
    expires_after interval DEFAULT '24:00:00'::interval NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT policies_decision_check CHECK ((decision = ANY (ARRAY['allow'::text, 'deny'::text, 'ask'::text]))),
    CONSTRAINT policies_effect_check CHECK ((effect = ANY (ARRAY['read'::text, 'write'::text, 'external'::text]))),
    CONSTRAINT policies_expires_after_check CHECK (((expires_after > '00:00:00'::interval) AND (expires_after <= '30 days'::interval)))
);


--
-- Name: TABLE policies; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.policies IS 'What agents'' tools may do: rules are tried by position, the first that matches a call decides; without a match it is allowed. A column that is null matches everything.';


--
-- Name: COLUMN policies.tool; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.policies.tool IS 'The tool as the model sees it (calculator, shop__request); * stands for any characters (shop__*).';


--
-- Name: COLUMN policies.effect; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.policies.effect IS 'read (changes nothing), write (changes data of the organization), external (acts on the world outside).';


--
-- Name: COLUMN policies.decision; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.policies.decision IS 'allow, deny (the model is told), or ask: the call waits in approvals for a person.';


--
-- Name: COLUMN policies.expires_after; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.policies.expires_after IS 'How long a question waits for its answer.';


--
-- Name: judge(uuid, public.service, uuid, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text) RETURNS public.policies
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select p from public.policies p
  where p.organization_id = p_organization
    and (p.service is null or p.service = p_service)
    and (p.agent_id is null or p.agent_id = p_agent)
    and (p.effect is null or p.effect = p_effect)
    and (p.tool is null or p_tool like replace(replace(replace(replace(p.tool, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))
  order by p.position, p.id limit 1
$$;


--
-- Name: FUNCTION judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text) IS 'The policy that decides about a call; null when none does, and it is allowed.';


--
-- Name: learn(uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.learn(p_organization uuid, p_learned jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  dialled text := p_learned ->> 'contact';
  phone text := p_learned ->> 'phone';
  filed text;
begin
  filed := bus.meet(p_organization, 'whatsapp', dialled, phone, p_learned ->> 'user_id',
    jsonb_strip_nulls(jsonb_build_object('phone_number', phone, 'bsuid', p_learned ->> 'user_id')), false);
  if filed is null then
    -- A spelling that no rule knows: what was dialled stays as it is, and leads to what it is.
    update public.contacts_addresses a set extra = jsonb_strip_nulls(jsonb_build_object('phone_number', phone, 'bsuid', p_learned ->> 'user_id'))
    where (a.organization_id, a.service, a.address) = (p_organization, 'whatsapp', dialled);
  elsif filed <> dialled and exists (
    select from public.contacts_addresses a
    where (a.organization_id, a.service, a.address) = (p_organization, 'whatsapp', dialled) and a.status = 'active') then
    -- He has written under the right one before: one thread from now on.
    perform public.merge_addresses(p_organization, 'whatsapp', dialled, filed);
  end if;
end
$$;


--
-- Name: FUNCTION learn(p_organization uuid, p_learned jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.learn(p_organization uuid, p_learned jsonb) IS 'What Graph says of a recipient: the phone he really has, and his user id.';


--
-- Name: limit_reached(public.organizations, public.agents, uuid, text[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  s bus.spent;
  v_day date := (now() at time zone 'utc')::date;
  v_limits jsonb;
  v_scope text;
  reached text;
begin
  foreach v_scope in array '{conversation,day}'::text[] loop
    v_limits := a.extra -> 'limits';
    if v_limits ? v_scope then
      select o.id, v_day, a.id, p_conversation, sum(x.turns), sum(x.tool_calls), sum(x.tokens), sum(x.cost) into s
      from bus.spent x
      where (x.organization_id, x.day, x.agent_id) = (o.id, v_day, a.id) and (v_scope = 'day' or x.conversation_id = p_conversation);
      reached := bus.over_limit(v_limits, 'the agent', v_scope, p_keys, s);
    end if;
    v_limits := o.extra -> 'limits';
    if reached is null and v_limits ? v_scope then
      select o.id, v_day, a.id, p_conversation, sum(x.turns), sum(x.tool_calls), sum(x.tokens), sum(x.cost) into s
      from bus.spent x
      where (x.organization_id, x.day) = (o.id, v_day) and (v_scope = 'day' or x.conversation_id = p_conversation);
      reached := bus.over_limit(v_limits, 'the organization', v_scope, p_keys, s);
    end if;
    exit when reached is not null;
  end loop;
  return reached;
end
$$;


--
-- Name: FUNCTION limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]) IS 'In words, which limit of extra.limits ({"conversation": {...}, "day": {...}} of turns, tool_calls, tokens, cost, counted by the UTC day) stands in the way of another turn; null for none.';


--
-- Name: lock_conversation(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.lock_conversation(p_organization uuid, p_conversation uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform 1 from public.conversations c where c.organization_id = p_organization and c.id = p_conversation for no key update skip locked;
  return found;
end
$$;


--
-- Name: FUNCTION lock_conversation(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.lock_conversation(p_organization uuid, p_conversation uuid) IS 'Locks a conversation, without waiting. Everybody locks the conversation before its task; a claim, which has the task already, must not wait for it.';


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
-- Name: make_call(public.conversations, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.make_call(c public.conversations, p_message uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  u public.messages;
  result jsonb;
begin
  select * into u from public.messages m where m.organization_id = c.organization_id and m.id = p_message;
  begin
    if jsonb_typeof(u.content -> 'data') is distinct from 'object' then
      raise exception 'the arguments are no JSON object';
    end if;
    result := bus.run_tool(c, u.agent_id, u.content #>> '{tool,name}', u.content -> 'data');
    perform bus.store_result(c.organization_id, p_message, false, result);
  exception
    when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
      raise;
    when others then
      -- All that the tool did is undone; the model learns why.
      perform bus.store_result(c.organization_id, p_message, true, to_jsonb(sqlerrm));
  end;
end
$$;


--
-- Name: FUNCTION make_call(c public.conversations, p_message uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.make_call(c public.conversations, p_message uuid) IS 'Makes a call of a tool that works in the database, and stores its result: all of it or nothing.';


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
-- Name: meet(uuid, public.service, text, text, text, jsonb, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.meet(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  by_id public.contacts_addresses;
  by_phone public.contacts_addresses;
  left_behind public.contacts_addresses;
begin
  if p_user_id is not null then
    by_id := public.find_address(p_organization, p_service, null, p_user_id);
  end if;
  if p_phone is not null then
    by_phone := public.find_address(p_organization, p_service, p_phone, null);
  end if;
  if by_id.address is null and by_phone.address is null and p_user_id is null and p_phone is null then
    by_phone := public.find_address(p_organization, p_service, p_contact, null);
  end if;
  if by_id.address <> by_phone.address then
    -- Two that were strangers to us are one. The phone's row stays: clients address it.
    perform public.merge_addresses(p_organization, p_service, by_id.address, by_phone.address);
  end if;
  by_id := case when by_phone.address is not null then by_phone else by_id end;
  if by_id.address is null then
    if not p_creates then
      return null;
    end if;
    select * into left_behind from public.contacts_addresses a
    where (a.organization_id, a.service, a.address) = (p_organization, p_service, p_contact) and a.extra ? 'replaced_by_address';
    if found and (case when p_user_id is null then left_behind.updated_at > now() - interval '7 days' else left_behind.extra ->> 'was_bsuid' = p_user_id end) then
      -- News of before the change, which come late.
      return public.address_of(p_organization, p_service, p_contact, null, null);
    end if;
    insert into public.contacts_addresses as a (organization_id, service, address, extra)
    values (p_organization, p_service, p_contact, p_extra)
    -- Somebody else has the number now.
    on conflict (organization_id, service, address) do update
      set extra = excluded.extra || '{"replaced_by_address": null, "was_bsuid": null}', status = 'active'
    returning a.address into by_id.address;
    return by_id.address;
  end if;
  if p_extra ? 'preferences' then
    -- Of two that overtook each other the later one counts.
    p_extra := p_extra || jsonb_build_object('preferences', (
      select jsonb_object_agg(k, case when bus.as_time(by_id.extra #>> array['preferences', k, 'at']) > bus.as_time(v ->> 'at')
        then by_id.extra #> array['preferences', k] else v end)
      from jsonb_each(p_extra -> 'preferences') x (k, v)));
  end if;
  update public.contacts_addresses a set extra = p_extra - 'address_type'
  where (a.organization_id, a.service, a.address) = (p_organization, p_service, by_id.address)
    and (a.extra is null or not a.extra @> (p_extra - 'address_type'));
  return by_id.address;
end
$$;


--
-- Name: FUNCTION meet(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.meet(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean) IS 'Files what a payload says of a person, linking phone and user id when they come together. Returns the address, or null for somebody unknown who is not to be introduced.';


--
-- Name: merge_all(jsonb, jsonb[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.merge_all(p_old jsonb, p_new jsonb[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
declare
  result jsonb := coalesce(p_old, '{}');
  v jsonb;
begin
  foreach v in array p_new loop
    result := public.merge_update_jsonb(result, '{}', v);
  end loop;
  return result;
end
$$;


--
-- Name: mime_of(text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.mime_of(p_uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
  select case lower(substring(split_part(split_part(p_uri, '?', 1), '#', 1) from '\.([A-Za-z0-9]+)$'))
    when 'jpg' then 'image/jpeg' when 'jpeg' then 'image/jpeg' when 'png' then 'image/png' when 'webp' then 'image/webp'
    when 'mp4' then 'video/mp4' when '3gp' then 'video/3gpp' when 'mp3' then 'audio/mpeg' when 'ogg' then 'audio/ogg' when 'aac' then 'audio/aac'
    when 'amr' then 'audio/amr' when 'm4a' then 'audio/mp4' when 'pdf' then 'application/pdf' when 'csv' then 'text/csv' when 'txt' then 'text/plain'
    else 'application/octet-stream' end
$_$;


--
-- Name: FUNCTION mime_of(p_uri text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.mime_of(p_uri text) IS 'What a file elsewhere is, by the end of its address.';


--
-- Name: next_expiry(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.next_expiry(p_organization uuid, p_conversation uuid) RETURNS double precision
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  v_first timestamptz;
begin
  if exists (select from bus.calls k where k.organization_id = p_organization and k.conversation_id = p_conversation and k.state = 'asked') then
    select min(a.expires_at) into v_first from public.approvals a
    where a.organization_id = p_organization and a.conversation_id = p_conversation and a.state = 'pending';
  end if;
  return case when v_first is not null then greatest(0.05, extract(epoch from v_first - clock_timestamp())) end;
end
$$;


--
-- Name: FUNCTION next_expiry(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.next_expiry(p_organization uuid, p_conversation uuid) IS 'In how many seconds the next open question of a conversation expires; null when there is none.';


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
-- Name: numbers_of(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.numbers_of(p_event jsonb) RETURNS SETOF public.organizations_addresses
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  -- The number, or the numbers of the account: of everyone who has them.
  select a.* from public.organizations_addresses a
  where a.organization_id = (p_event ->> 'organization_id')::uuid and a.address = p_event ->> 'address'
  union all
  select a.* from public.organizations_addresses a
  where p_event ->> 'organization_id' is null and a.service = 'whatsapp' and a.extra ->> 'waba_id' = p_event ->> 'waba'
    and (p_event ->> 'phone_number' is null or a.extra ->> 'phone_number' = p_event ->> 'phone_number')
$$;


--
-- Name: FUNCTION numbers_of(p_event jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.numbers_of(p_event jsonb) IS 'The numbers that an event is about.';


--
-- Name: open_windows(uuid[], text[], text[], timestamp with time zone[]); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamp with time zone[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into bus.windows as w (organization_id, organization_address, contact_address, opened_at)
  select o, a, c, max(t) from unnest(p_organizations, p_addresses, p_contacts, p_times) x (o, a, c, t) group by o, a, c order by o, a, c
  on conflict (organization_id, organization_address, contact_address) do update set opened_at = excluded.opened_at
  where excluded.opened_at > w.opened_at + interval '10 s'
$$;


--
-- Name: FUNCTION open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamp with time zone[]); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamp with time zone[]) IS 'Somebody has written: free-form answers are allowed for a day from then.';


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
-- Name: orphan(uuid, text, text, jsonb, jsonb, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.orphan(p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Whoever stores the message takes the same lock, so one of the two sees the other.
  perform pg_advisory_xact_lock(bus.arrival(p_address, p_external_id));
  if exists (select from public.messages x where (x.organization_id, x.organization_address, x.external_id) = (p_organization, p_address, p_external_id)) then
    return false;
  end if;
  insert into bus.orphans as o (organization_id, organization_address, external_id, status, changes, extra)
  values (p_organization, p_address, p_external_id, coalesce(p_status, '{}'), case when p_change is not null then jsonb_build_array(p_change) end, p_extra)
  on conflict (organization_id, organization_address, external_id) do update set
    status = public.merge_status(o.status, excluded.status, 'outgoing'),
    changes = case when excluded.changes is null or o.changes @> excluded.changes then o.changes else coalesce(o.changes, '[]') || excluded.changes end,
    extra = case when excluded.extra is null then o.extra else public.merge_update_jsonb(coalesce(o.extra, '{}'), '{}', excluded.extra) end;
  return true;
end
$$;


--
-- Name: FUNCTION orphan(p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.orphan(p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb) IS 'Keeps what came before its message. False when the message has come meanwhile.';


--
-- Name: outdated(text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.outdated(p_queue text, p_tasks jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return query
  select r.id from jsonb_to_recordset(p_tasks) as r (organization_id uuid, key text, id bigint, version int)
  join bus.tasks t on (t.organization_id, t.queue, t.key, t.id) = (r.organization_id, p_queue, r.key, r.id)
  where t.version <> r.version;
end
$$;


--
-- Name: FUNCTION outdated(p_queue text, p_tasks jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.outdated(p_queue text, p_tasks jsonb) IS 'Which of these running tasks were asked for again since they were claimed.';


--
-- Name: spent; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.spent (
    organization_id uuid NOT NULL,
    day date NOT NULL,
    agent_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    turns numeric DEFAULT 0 NOT NULL,
    tool_calls numeric DEFAULT 0 NOT NULL,
    tokens numeric DEFAULT 0 NOT NULL,
    cost numeric DEFAULT 0 NOT NULL
)
WITH (fillfactor='70');


--
-- Name: TABLE spent; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.spent IS 'What agents used each day (UTC) in each conversation: what limits are judged by. Kept for a week.';


--
-- Name: over_limit(jsonb, text, text, text[], bus.spent); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.over_limit(p_limits jsonb, p_whose text, p_scope text, p_keys text[], s bus.spent) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
  select format('%s may use %s %s %s a day', p_whose, l.value #>> '{}', replace(l.key, '_', ' '), case p_scope when 'conversation' then 'in one conversation' else 'in all' end)
  from jsonb_each(case when jsonb_typeof(p_limits -> p_scope) = 'object' then p_limits -> p_scope else '{}' end) l
  where l.key = any (p_keys) and coalesce(case l.key when 'turns' then s.turns when 'tool_calls' then s.tool_calls when 'tokens' then s.tokens when 'cost' then s.cost end, 0)
    >= bus.as_number(l.value #>> '{}')
  limit 1
$$;


--
-- Name: park(jsonb, text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.park(p_event jsonb, p_reason text, p_detail text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into bus.parked (journal_id, organization_id, address, reason, detail, raw)
  select (p_event ->> 'journal')::bigint, (p_event ->> 'organization_id')::uuid, coalesce(p_event ->> 'address', p_event ->> 'waba'), p_reason,
    coalesce(p_detail, ''), coalesce(p_event -> 'raw', p_event - '{journal,n,organization_id}'::text[])
  where exists (select from bus.journal j where j.id = (p_event ->> 'journal')::bigint)
$$;


--
-- Name: FUNCTION park(p_event jsonb, p_reason text, p_detail text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.park(p_event jsonb, p_reason text, p_detail text) IS 'Keeps an event that cannot be stored, with the reason.';


--
-- Name: pause_of(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.pause_of(p_organization_extra jsonb) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select make_interval(secs => 3600 * greatest(0, least(8760, coalesce(bus.as_number(p_organization_extra ->> 'pause_hours'), 12)))::float8)
$$;


--
-- Name: FUNCTION pause_of(p_organization_extra jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.pause_of(p_organization_extra jsonb) IS 'How long a takeover silences the agent: extra.pause_hours of the organization, or 12 hours.';


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
-- Name: preprocess(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.preprocess(p_organization uuid, p_message uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if exists (
    select from public.messages m
    join public.organizations o on o.id = m.organization_id
    where m.organization_id = p_organization and m.id = p_message and m.content ->> 'type' = 'file' and m.direction <> 'internal'
      -- Nothing is asked about what was imported.
      and m.status ?| '{pending,standby}' and not m.content ? 'artifacts' and not m.status ? 'preprocessed' and not m.status ? 'deleted'
      and storage.name_of(m.content #>> '{file,uri}') is not null
      and case o.extra #>> '{media_preprocessing,mode}'
        when 'active' then bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}') is not null
        when 'inactive' then false
        -- What costs nothing is done without being asked for.
        else bus.reader_of(m.content ->> 'kind', m.content #>> '{file,mime_type}') = 'here' end) then
    perform bus.enqueue('preprocess', p_organization, p_message::text, p_message::text);
  end if;
end
$$;


--
-- Name: FUNCTION preprocess(p_organization uuid, p_message uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.preprocess(p_organization uuid, p_message uuid) IS 'Asks for a stored file to be read, where organizations.extra.media_preprocessing wants it and somebody can.';


--
-- Name: prune(); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.prune() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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
-- Name: reader_of(text, text); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.reader_of(p_kind text, p_mime_type text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case
    when p_mime_type ~ '^text/|^application/(json|xml|xhtml\+xml|javascript|x-javascript|sql|x-sql|rtf)|^application/vnd\.openxmlformats-officedocument\.|^application/vnd\.oasis\.opendocument\.'
      then 'here'
    when p_mime_type ~ '^(audio|image|video)/|^application/pdf' and p_mime_type <> 'image/svg+xml' then 'model'
  end
$$;


--
-- Name: FUNCTION reader_of(p_kind text, p_mime_type text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.reader_of(p_kind text, p_mime_type text) IS 'Who reads a file: here (its text is read by the process), model, or null for nobody.';


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
-- Name: resume_remote(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.resume_remote(p_organization uuid, p_conversation uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Behind a step that is just ending: its successor is another row, which only a later look finds.
  perform 1 from public.conversations c where c.organization_id = p_organization and c.id = p_conversation for no key update;
  update bus.tasks t set
    run_at = case when t.worker is null then clock_timestamp() else t.run_at end,
    -- Whoever is asking at this moment asks once more.
    waits_for = case when t.worker is null then t.waits_for else 'recall' end
  where t.organization_id = p_organization and t.queue = 'agent' and t.key = p_conversation::text and (t.waits_for = 'remote' or t.worker is not null);
  if found then
    perform bus.ring('agent');
  end if;
end
$$;


--
-- Name: FUNCTION resume_remote(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.resume_remote(p_organization uuid, p_conversation uuid) IS 'Another agent says that its task has come further: the run asks it now.';


--
-- Name: resume_run(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.resume_run(p_organization uuid, p_conversation uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  newest uuid;
begin
  select m.id into newest from public.messages m
  where m.organization_id = p_organization and m.conversation_id = p_conversation and m.direction = 'incoming'
  order by m."timestamp" desc, m.id desc limit 1;
  if newest is null then
    return;
  end if;
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('agent', p_organization, p_conversation::text, newest::text, true)
  on conflict (organization_id, queue, key) where single do update set
    -- A running one learns from the version that there is more to do; a waiting one goes on now.
    version = t.version + case when t.worker is not null then 1 else 0 end,
    run_at = case when t.worker is not null then t.run_at else clock_timestamp() end, waits_for = null;
  perform bus.ring('agent');
end
$$;


--
-- Name: FUNCTION resume_run(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.resume_run(p_organization uuid, p_conversation uuid) IS 'Lets a conversation''s run go on: an approval, a file, another agent''s task, or its hand-back has come.';


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
-- Name: run_tool(public.conversations, uuid, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  return case p_name
    when 'transfer_to_human_agent' then bus.tool_transfer(c, p_agent, p)
    when 'pass_to_agent' then bus.tool_pass(c, p_agent, p)
    when 'remember' then bus.tool_remember(c, p)
    when 'attach_file' then bus.tool_attach(c, p_agent, p)
    when 'search_contacts' then bus.tool_contacts(c, p)
    when 'get_conversation' then bus.tool_conversation(c, p)
    when 'send_message' then bus.tool_send(c, p_agent, p)
    when 'get_status' then bus.tool_status(c, p)
  end;
end
$$;


--
-- Name: FUNCTION run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb) IS 'Calls a tool that works in the database, with the model''s arguments. What it raises is for the model to read.';


--
-- Name: save_templates(uuid, text, text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  n int;
begin
  perform set_config('tidings.synchronising', 'on', true);
  insert into public.templates as t (organization_id, organization_address, waba_id, external_id, name, language, category, parameter_format,
                                     components, status, quality, rejected_reason, extra, synced_at)
  select p_organization, p_address, p_waba, e ->> 'id', e ->> 'name', e ->> 'language', upper(e ->> 'category'),
    case when upper(e ->> 'parameter_format') in ('POSITIONAL', 'NAMED') then upper(e ->> 'parameter_format') end,
    coalesce(e -> 'components', '[]'), coalesce(e ->> 'status', 'PENDING'), e #>> '{quality_score,score}', nullif(e ->> 'rejected_reason', 'NONE'),
    (e - '{id,name,language,category,parameter_format,components,status,quality_score,rejected_reason}'::text[]) || jsonb_build_object('meta_status', e ->> 'status'), now()
  from (select distinct on (x ->> 'name', x ->> 'language') x as e from jsonb_array_elements(p_templates) x order by x ->> 'name', x ->> 'language') once
  where e ->> 'name' ~ '^[a-z0-9_]+$' and length(e ->> 'name') <= 512 and e ->> 'language' ~ '^[a-z]{2,3}(_[A-Za-z]{2,4})?$' and upper(e ->> 'category') in ('MARKETING', 'UTILITY', 'AUTHENTICATION')
  on conflict (organization_id, waba_id, name, language) do update set
    external_id = excluded.external_id, category = excluded.category, parameter_format = excluded.parameter_format,
    components = excluded.components, status = excluded.status, quality = excluded.quality, rejected_reason = excluded.rejected_reason,
    extra = excluded.extra, synced_at = now()
    -- What is being changed here is not overwritten before Meta has heard of it.
    where t.status not in ('editing', 'submitting');
  get diagnostics n = row_count;
  if p_complete_since is not null then
    delete from public.templates t
    where t.organization_id = p_organization and t.waba_id = p_waba and t.external_id is not null and t.updated_at < p_complete_since
      and not exists (select from jsonb_array_elements(p_templates) e where e ->> 'id' = t.external_id);
  end if;
  perform set_config('tidings.synchronising', '', true);
  return n;
end
$_$;


--
-- Name: FUNCTION save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamp with time zone) IS 'Keeps templates as Meta lists them. With a list that is complete as of a time, those go that are not in it and have not changed since.';


--
-- Name: say(public.conversations, uuid, jsonb, jsonb, boolean); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, OUT message uuid, OUT refusal text) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if p_closed and exists (select from jsonb_array_elements(p_contents) x where x ->> 'kind' <> 'template') then
    refusal := 'the 24-hour window is closed: only a template can be sent';
    return;
  end if;
  begin
    message := bus.answer(c, p_agent, p_contents, 'outgoing', jsonb_build_object('answers', coalesce(p_seen, '[]')));
  exception
    when integrity_constraint_violation or data_exception or raise_exception then
      refusal := sqlerrm;
  end;
end
$$;


--
-- Name: FUNCTION say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, OUT message uuid, OUT refusal text); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, OUT message uuid, OUT refusal text) IS 'Sends an agent''s answer, all of it or nothing; refusal says why nothing.';


--
-- Name: set_aside(uuid, text, bigint, text, double precision); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds double precision) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  -- A new task in the old one's place: waiting, or having come a step further, is no failed attempt.
  with gone as (
    delete from bus.tasks t where (t.organization_id, t.queue, t.key, t.id) = (p_organization, 'agent', p_key, p_id) returning *)
  insert into bus.tasks (queue, organization_id, key, lane, subject, priority, single, due_at, run_at, version, waits_for, created_at)
  select g.queue, g.organization_id, g.key, g.lane, g.subject, g.priority, g.single, g.due_at, clock_timestamp() + make_interval(secs => p_seconds), g.version, p_for, g.created_at
  from gone g
$$;


--
-- Name: FUNCTION set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds double precision); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds double precision) IS 'Ends a step of a run: the next is due after so many seconds, or when what it waits for comes.';


--
-- Name: settle(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.settle(p_events jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  e record;
  home uuid;
  rest jsonb := '{}';
begin
  -- Nobody's, as it seems. Whoever registers a number takes the same lock: either we see the number now, or he sees what
  -- we park.
  perform pg_advisory_xact_lock_shared(h) from (
    select distinct hashtextextended('number ' || coalesce(x ->> 'address', x ->> 'waba'), 0) as h
    from jsonb_each(p_events) k, jsonb_array_elements(k.value) x
    where k.key <> 'park' and coalesce(x ->> 'address', x ->> 'waba') is not null order by 1) locks;
  for e in select k.key as kind, x as event from jsonb_each(p_events) k, jsonb_array_elements(k.value) with ordinality r (x, n) order by k.key, n loop
    if e.kind = 'park' then
      perform bus.park(e.event, e.event ->> 'reason', e.event ->> 'detail');
      continue;
    end if;
    select n.organization_id into home from bus.numbers n
    where n.service = (e.event ->> 'service')::public.service and n.address = e.event ->> 'address';
    if home is not null or (e.event ->> 'address' is null and exists (
      select from public.organizations_addresses a where a.service = 'whatsapp' and a.extra ->> 'waba_id' = e.event ->> 'waba'))
    then
      rest := jsonb_set(rest, array[e.kind], coalesce(rest -> e.kind, '[]') || (e.event || case when home is null then '{}' else jsonb_build_object('organization_id', home) end));
    elsif e.kind <> 'contact' then
      perform bus.park(e.event, 'unknown_number', 'no organization has the address ' || coalesce(e.event ->> 'address', e.event ->> 'waba', '(none)'));
    end if;
  end loop;
  return rest;
end
$$;


--
-- Name: FUNCTION settle(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.settle(p_events jsonb) IS 'Of events whose organization is not known: those of an account of which somebody has a number, and those whose number has appeared meanwhile. The others, and what is not understood, are parked.';


--
-- Name: settle_calls(public.conversations, uuid, timestamp with time zone); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.settle_calls(c public.conversations, p_agent uuid, p_newest timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  k bus.calls;
  v_reads uuid[] := '{}';
  v_write uuid;
  v_agent uuid;
  v_waits boolean := false;
begin
  for k in
    select * from bus.calls x where x.organization_id = c.organization_id and x.conversation_id = c.id order by x.created_at, x.message_id
  loop
    if k.state = 'asked' and not exists (
      select from public.approvals a where a.organization_id = k.organization_id and a.message_id = k.message_id and a.state = 'pending') then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb('not called: the question whether it may be was withdrawn'::text));
    elsif k.state = 'asked' then
      -- Nothing to say before it is decided, unless the contact has written meanwhile.
      v_waits := v_waits or k.created_at > p_newest;
    elsif k.state = 'started' and k.effect <> 'read' then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb(
        'outcome unknown: the call was interrupted and may have had its effect. Find out before calling it again.'::text));
    elsif not k.approved and (k.agent_id <> p_agent or k.created_at < p_newest) then
      perform bus.store_result(k.organization_id, k.message_id, true, to_jsonb(case k.state
        when 'started' then 'interrupted: the conversation moved on' else 'not called: the conversation moved on before it began' end));
    elsif k.here then
      perform bus.make_call(c, k.message_id);
    elsif k.agent_id <> coalesce(v_agent, k.agent_id) then
      -- Of an agent that the conversation was passed from: in the next step, with its own settings.
      continue;
    else
      v_agent := k.agent_id;
      if k.effect = 'read' then
        v_reads := v_reads || k.message_id;
      else
        v_write := coalesce(v_write, k.message_id);
      end if;
    end if;
  end loop;
  -- What only reads goes together; what may change something goes alone, so that a crash leaves one in doubt at most.
  if cardinality(v_reads) = 0 and v_write is not null then
    v_reads := array[v_write];
  end if;
  if cardinality(v_reads) > 0 then
    if v_write = any (v_reads) then
      -- That it may have been begun must be known for good before it is.
      perform set_config('synchronous_commit', 'on', true);
    end if;
    update bus.calls x set state = 'started'
    where x.organization_id = c.organization_id and x.conversation_id = c.id and x.message_id = any (v_reads);
    return jsonb_build_object('agent_id', v_agent, 'calls', (
      select jsonb_agg(jsonb_build_object('message_id', m.id, 'tool', m.content -> 'tool', 'arguments', coalesce(m.content -> 'data', m.content -> 'text')) order by m."timestamp", m.id)
      from public.messages m where m.organization_id = c.organization_id and m.id = any (v_reads)));
  elsif v_waits then
    return jsonb_build_object('wait', coalesce(bus.next_expiry(c.organization_id, c.id), 1), 'for', 'approval');
  end if;
  return '{}';
end
$$;


--
-- Name: FUNCTION settle_calls(c public.conversations, p_agent uuid, p_newest timestamp with time zone); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.settle_calls(c public.conversations, p_agent uuid, p_newest timestamp with time zone) IS 'What is to be done about open calls: {"calls": [...], "agent_id"} to make now (marked as started), {"wait": seconds, "for": "approval"}, or {} for nothing. Calls that a dead worker left, that expired or that the conversation left behind get their results.';


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
-- Name: spend(uuid, uuid, uuid, uuid, text, jsonb, integer); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.spend(p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  n jsonb := '{}';
  k text;
  v_cost numeric;
begin
  -- Whatever a model's server says it counted.
  foreach k in array '{input,cache_read,cache_write,audio_input,output,reasoning,audio_output}'::text[] loop
    n := n || jsonb_build_object(k, greatest(0, least(1000000000000, trunc(coalesce(bus.as_number(u ->> k), 0)))));
  end loop;
  v_cost := bus.cost(u ->> 'provider', u ->> 'model', n);
  insert into public.usage (organization_id, conversation_id, message_id, agent_id, purpose, provider, model, billable, input_tokens, cache_read_tokens,
    cache_write_tokens, audio_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens, cost)
  values (p_organization, p_conversation, p_message, p_agent, p_purpose, coalesce(u ->> 'provider', 'custom'), coalesce(u ->> 'model', ''),
    u -> 'billable' = 'true', (n ->> 'input')::bigint, (n ->> 'cache_read')::bigint, (n ->> 'cache_write')::bigint, (n ->> 'audio_input')::bigint,
    (n ->> 'output')::bigint, (n ->> 'reasoning')::bigint, (n ->> 'audio_output')::bigint, v_cost);
  if p_agent is not null and p_conversation is not null then
    insert into bus.spent as s (organization_id, day, agent_id, conversation_id, turns, tool_calls, tokens, cost)
    values (p_organization, (now() at time zone 'utc')::date, p_agent, p_conversation, (p_purpose = 'answer')::int, p_calls,
      (n ->> 'input')::bigint + (n ->> 'output')::bigint, coalesce(v_cost, 0))
    on conflict (organization_id, day, agent_id, conversation_id) do update set
      turns = s.turns + excluded.turns, tool_calls = s.tool_calls + excluded.tool_calls, tokens = s.tokens + excluded.tokens, cost = s.cost + excluded.cost;
  end if;
end
$$;


--
-- Name: FUNCTION spend(p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls integer); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.spend(p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls integer) IS 'Records a call of a model. u: {provider, model, billable, and tokens by kind}.';


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
    m.group_address, m.thread_id, case when p.part ? 'type' then p.part else (m.content - 're_message_id') || p.part end,
    m."timestamp" - (count - p.n + 1) * interval '1 microsecond'
  from public.messages m, jsonb_array_elements(p_parts) with ordinality p (part, n)
  where m.organization_id = p_organization and m.id = p_message and p.n > 1
  order by p.n;
  update public.messages m set
    content = p_parts -> 0,
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
-- Name: step(uuid, uuid, text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb DEFAULT NULL::jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update public.operations set steps = steps || jsonb_build_object(p_step, coalesce(p_value, '{}') || jsonb_build_object('at', clock_timestamp()))
  where organization_id = p_organization and id = p_operation
$$;


--
-- Name: FUNCTION step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb) IS 'Notes a step of an operation as done.';


--
-- Name: store_accounts(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_accounts(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  e jsonb;
  a public.organizations_addresses;
  moment timestamptz;
  event text;
  about text;
begin
  for e in select x from jsonb_array_elements(p_events) x order by x ->> 'timestamp', (x ->> 'n')::bigint loop
    event := e ->> 'event';
    moment := (e ->> 'timestamp')::timestamptz;
    about := case
      when event in ('PARTNER_REMOVED', 'ACCOUNT_OFFBOARDED', 'ACCOUNT_DELETED', 'ACCOUNT_RECONNECTED') then 'connection'
      when event in ('DISABLED_UPDATE', 'ACCOUNT_RESTRICTION', 'ACCOUNT_VIOLATION') then 'attention'
      else 'other' end;
    for a in select * from bus.numbers_of(e) loop
      -- An old event that comes late must not undo a newer one of its kind, nor one of before the number was connected here.
      continue when bus.as_time(a.extra #>> array['account', about, 'at']) >= moment
        or (about = 'connection' and moment < coalesce(bus.as_time(a.extra ->> 'connected_at'), a.created_at));
      update public.organizations_addresses x
      set extra = jsonb_build_object('account', jsonb_build_object(about, jsonb_build_object('event', event, 'at', moment)))
      where (x.organization_id, x.address) = (a.organization_id, a.address);
      if event in ('PARTNER_REMOVED', 'ACCOUNT_OFFBOARDED', 'ACCOUNT_DELETED') and a.status = 'connected' then
        update public.organizations_addresses x set status = 'disconnected',
          extra = jsonb_build_object('disconnected', jsonb_build_object('by', event, 'at', moment, 'info', e #> '{value,disconnection_info}'))
        where (x.organization_id, x.address) = (a.organization_id, a.address);
      elsif event = 'ACCOUNT_RECONNECTED' and a.status = 'disconnected' and a.extra #>> '{disconnected,by}' in ('PARTNER_REMOVED', 'ACCOUNT_OFFBOARDED', 'ACCOUNT_DELETED') then
        -- Only what such an event disconnected: a number that its owner gave up stays given up.
        update public.organizations_addresses x set status = 'connected', extra = '{"disconnected": null, "attention": null}'
        where (x.organization_id, x.address) = (a.organization_id, a.address);
      elsif event = 'DISABLED_UPDATE' and e #>> '{value,ban_info,waba_ban_state}' = 'REINSTATE' then
        update public.organizations_addresses x set extra = '{"attention": null}'
        where (x.organization_id, x.address) = (a.organization_id, a.address) and a.extra #>> '{attention,by}' = 'DISABLED_UPDATE';
      elsif about = 'attention' then
        update public.organizations_addresses x set extra = jsonb_build_object('attention', jsonb_build_object(
          'until', (select to_timestamp(max((r ->> 'expiration')::numeric)) from jsonb_array_elements(e #> '{value,restriction_info}') r where r ->> 'expiration' ~ '^[0-9]+$'),
          'reason', case event
            when 'DISABLED_UPDATE' then case e #>> '{value,ban_info,waba_ban_state}'
              when 'SCHEDULE_FOR_DISABLE' then 'Meta is going to disable the account' || coalesce(' on ' || (e #>> '{value,ban_info,waba_ban_date}'), '')
              else 'Meta has disabled the account: ' || coalesce(e #>> '{value,ban_info,waba_ban_state}', 'no state given') end
            when 'ACCOUNT_RESTRICTION' then 'Meta has restricted the account: '
              || coalesce((select string_agg(r ->> 'restriction_type', ', ') from jsonb_array_elements(e #> '{value,restriction_info}') r), 'no restriction given')
            else 'Meta reports a violation: ' || coalesce(e #>> '{value,violation_info,violation_type}', 'no type given') end,
          'at', moment, 'by', event))
        where (x.organization_id, x.address) = (a.organization_id, a.address);
      end if;
    end loop;
  end loop;
end
$_$;


--
-- Name: FUNCTION store_accounts(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_accounts(p_events jsonb) IS 'account_update: connection and trouble of all numbers of the account, whoever has them.';


--
-- Name: store_apart(text, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_apart(p_kind text, p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  n int := jsonb_array_length(p_events);
  problem text;
begin
  perform bus.store_events(jsonb_build_object(p_kind, p_events));
exception
  when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
    raise;
  when others then
    get stacked diagnostics problem = message_text;
    if n = 1 then
      perform bus.park(p_events -> 0, 'refused', problem);
      return;
    end if;
    perform bus.store_apart(p_kind, (select jsonb_agg(e order by i) from jsonb_array_elements(p_events) with ordinality x (e, i) where i <= n / 2));
    perform bus.store_apart(p_kind, (select jsonb_agg(e order by i) from jsonb_array_elements(p_events) with ordinality x (e, i) where i > n / 2));
end
$$;


--
-- Name: FUNCTION store_apart(p_kind text, p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_apart(p_kind text, p_events jsonb) IS 'Stores events of one type; those that cannot be stored are found by halves and parked, so that one among thousands costs a few attempts more.';


--
-- Name: store_calls(public.conversations, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_calls(c public.conversations, p_agent uuid, p_turn jsonb) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_task uuid := gen_random_uuid();
  v_first uuid;
  v_message uuid;
  k record;
  p public.policies;
begin
  for k in select x.value as call, x.ordinality as n from jsonb_array_elements(p_turn -> 'calls') with ordinality x loop
    insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                                 group_address, content, extra, status, "timestamp")
    values (c.organization_id, c.id, 'internal', p_agent, c.contact_address, c.service, c.organization_address, c.group_address,
      jsonb_build_object('version', '1', 'task', jsonb_build_object('id', v_task),
        'tool', (k.call -> 'tool') || jsonb_build_object('use_id', k.call ->> 'id', 'event', 'use', 'provider', 'local', 'offered', k.call ->> 'name', 'effect', k.call ->> 'effect'))
      || case when jsonb_typeof(k.call -> 'arguments') = 'object' then jsonb_build_object('type', 'data', 'kind', 'data', 'data', k.call -> 'arguments')
              else jsonb_build_object('type', 'text', 'kind', 'text', 'text', coalesce(k.call ->> 'arguments', '')) end,
      case when k.n = 1 then jsonb_build_object('model_state', p_turn -> 'state', 'said', nullif(p_turn ->> 'text', '')) end,
      '{}', clock_timestamp())
    returning id into v_message;
    v_first := coalesce(v_first, v_message);
    insert into bus.calls (organization_id, conversation_id, message_id, agent_id, effect, here, state)
    values (c.organization_id, c.id, v_message, p_agent, k.call ->> 'effect', coalesce((k.call ->> 'here')::boolean, false), 'ready');
    if k.call ? 'error' then
      perform bus.store_result(c.organization_id, v_message, true, k.call -> 'error');
      continue;
    end if;
    p := bus.judge(c.organization_id, c.service, p_agent, k.call ->> 'name', k.call ->> 'effect');
    if p.decision = 'deny' then
      perform bus.store_result(c.organization_id, v_message, true,
        to_jsonb('the organization''s policy does not allow this call' || coalesce(' (' || p.name || ')', '')));
    elsif p.decision = 'ask' then
      update bus.calls x set state = 'asked' where (x.organization_id, x.conversation_id, x.message_id) = (c.organization_id, c.id, v_message);
      insert into public.approvals (organization_id, conversation_id, message_id, agent_id, tool, effect, arguments, expires_at)
      values (c.organization_id, c.id, v_message, p_agent, k.call ->> 'name', k.call ->> 'effect', k.call -> 'arguments', clock_timestamp() + p.expires_after);
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      values (c.organization_id, c.organization_address, 'info', 'approval', c.service, format('%s waits for approval', k.call ->> 'name'),
        jsonb_build_object('conversation_id', c.id, 'agent_id', p_agent, 'message_id', v_message));
    elsif coalesce((k.call ->> 'here')::boolean, false) then
      perform bus.make_call(c, v_message);
    end if;
  end loop;
  return v_first;
end
$$;


--
-- Name: FUNCTION store_calls(c public.conversations, p_agent uuid, p_turn jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_calls(c public.conversations, p_agent uuid, p_turn jsonb) IS 'Stores the calls of a model''s turn ({calls, text, state}), asks the policies, and makes those that work in the database. Returns the first message.';


--
-- Name: store_changes(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_changes(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  c record;
  change jsonb;
begin
  for c in
    select * from jsonb_to_recordset(p_events) as e (organization_id uuid, address text, external_id text, patch jsonb, "timestamp" timestamptz, n bigint)
    order by e."timestamp", e.n
  loop
    change := jsonb_strip_nulls(jsonb_build_object('timestamp', c."timestamp")) || case when c.patch is null then '{}' else jsonb_build_object('patch', c.patch) end;
    if not bus.apply_change(c.organization_id, c.address, c.external_id, change)
      and not bus.orphan(c.organization_id, c.address, c.external_id, null, change, null) then
      perform bus.apply_change(c.organization_id, c.address, c.external_id, change);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION store_changes(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_changes(p_events jsonb) IS 'Edits and revocations; those whose message has not come yet wait for it.';


--
-- Name: store_contacts(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_contacts(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c record;
begin
  for c in
    select e.organization_id, e.service, e.contact, e.phone, e.user_id, e.extra, bool_or(coalesce(e.creates, true)) as creates, max(e.address) as account
    from jsonb_to_recordset(p_events) as e (
      organization_id uuid, service public.service, address text, contact text, phone text, user_id text, extra jsonb, creates boolean, n bigint)
    -- The usual case is that nothing is new.
    where e.service = 'instagram' or not exists (
      select from public.contacts_addresses a
      where (a.organization_id, a.service, a.address) = (e.organization_id, e.service, e.contact) and a.status = 'active' and a.extra @> e.extra)
    group by 1, 2, 3, 4, 5, 6
    -- Who is introduced comes before what is only added; the rest in an order that is the same for everyone.
    order by not bool_or(coalesce(e.creates, true)), e.organization_id, e.contact, max(e.n)
  loop
    perform bus.meet(c.organization_id, c.service, c.contact, c.phone, c.user_id, c.extra, c.creates);
    if c.service = 'instagram' then
      perform bus.ask_profile(c.organization_id, c.account, c.contact);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION store_contacts(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_contacts(p_events jsonb) IS 'Files the people of a batch of events.';


--
-- Name: store_events(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_events(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  kind text;
begin
  foreach kind in array bus.event_types() loop
    continue when not p_events ? kind;
    case kind
      when 'contact' then perform bus.store_contacts(p_events -> kind);
      when 'message' then perform bus.store_messages(p_events -> kind);
      when 'status' then perform bus.store_statuses(p_events -> kind);
      when 'edit', 'revoke' then perform bus.store_changes(p_events -> kind);
      when 'rename' then perform bus.store_renames(p_events -> kind);
      when 'sync' then perform bus.store_sync(p_events -> kind);
      when 'group' then perform bus.store_groups(p_events -> kind);
      when 'progress' then perform bus.store_progress(p_events -> kind);
      when 'number' then perform bus.store_numbers(p_events -> kind);
      when 'account' then perform bus.store_accounts(p_events -> kind);
      when 'template' then perform bus.store_templates(p_events -> kind);
      when 'log' then perform bus.store_logs(p_events -> kind);
    end case;
  end loop;
end
$$;


--
-- Name: FUNCTION store_events(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_events(p_events jsonb) IS 'Stores events, {type: [event, …]}, in the order that they depend on each other.';


--
-- Name: store_groups(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_groups(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  e record;
  v_conversation uuid;
begin
  for e in
    select * from jsonb_to_recordset(p_events) as x (
      organization_id uuid, service public.service, address text, "group" text, name text, patch jsonb, ended boolean, n bigint) order by x.n
  loop
    -- A group that has ended stays so, whatever comes late.
    select c.id into v_conversation from public.conversations c
    where c.organization_id = e.organization_id and c.organization_address = e.address and c.service = e.service and c.group_address = e."group"
    order by c.created_at desc limit 1;
    if not found then
      v_conversation := public.conversation_for(e.organization_id, e.service, e.address, null, e."group");
    end if;
    update public.conversations c set name = coalesce(e.name, c.name), extra = e.patch, status = case when e.ended then 'closed' else c.status end
    where c.organization_id = e.organization_id and c.id = v_conversation;
  end loop;
end
$$;


--
-- Name: FUNCTION store_groups(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_groups(p_events jsonb) IS 'Groups are conversations: their name and what happened to them.';


--
-- Name: store_logs(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_logs(p_events jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into public.logs (organization_id, id, organization_address, level, category, service, message, metadata)
  select coalesce(e.organization_id, w.organization_id), e.id, case when e.organization_id is not null then a.address end, e.level,
    coalesce(nullif(e.category, ''), 'webhook'), e.service, coalesce(nullif(e.message, ''), '(no message)'), e.metadata
  from jsonb_to_recordset(p_events) as e (
    organization_id uuid, id uuid, service public.service, address text, waba text, level public.log_level, category text, message text, metadata jsonb)
  left join public.organizations_addresses a on a.organization_id = e.organization_id and a.address = e.address
  left join lateral (
    select distinct x.organization_id from public.organizations_addresses x
    where e.organization_id is null and x.service = 'whatsapp' and x.extra ->> 'waba_id' = e.waba) w on true
  where coalesce(e.organization_id, w.organization_id) is not null
  -- Delivered again, it is the same line.
  on conflict (organization_id, id) do nothing
$$;


--
-- Name: FUNCTION store_logs(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_logs(p_events jsonb) IS 'Lines for the logs of an organization, or of everyone who has a number of the business account.';


--
-- Name: store_messages(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_messages(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  stored int;
begin
  -- What the trigger would find out for each row is found out here once for each thread. (Connectors name stored files:
  -- whose they are is for the trigger to see.)
  perform set_config('tidings.filed', case when p_events @? '$[*].content.file ? (@.uri starts with "internal:")' then '' else 'on' end, true);
  insert into public.messages (organization_id, id, service, organization_address, contact_address, group_address, thread_id, conversation_id,
                               external_id, direction, content, status, "timestamp")
  with told as materialized (
    -- Of one message told twice, the file and not its placeholder.
    select distinct on (x.organization_id, x.address, x.external_id) x.*
    from jsonb_to_recordset(p_events) as x (
      organization_id uuid, id uuid, service public.service, address text, contact text, phone text, user_id text, "group" text, thread text,
      external_id text, direction public.direction, content jsonb, status jsonb, "timestamp" timestamptz, n bigint)
    order by x.organization_id, x.address, x.external_id, x.content ->> 'kind' = 'media_placeholder', x.n
  ), fresh as materialized (
    -- Asked first: a repeated event must not even make a conversation.
    select t.* from told t
    where not exists (
      select from public.messages m
      where (m.organization_id, m.organization_address, m.external_id) = (t.organization_id, t.address, t.external_id))
  ), threads as materialized (
    select p.*, f.contact_address, f.conversation_id
    from (select distinct organization_id, service, address, contact, phone, user_id, "group" from fresh) p
    cross join lateral public.thread_of(p.organization_id, p.service, p.address, p.contact, p.phone, p.user_id, p."group") f
  )
  select f.organization_id, f.id, f.service, f.address, t.contact_address, f."group", f.thread, t.conversation_id,
    f.external_id, f.direction, f.content, coalesce(f.status, jsonb_build_object('pending', now())), f."timestamp"
  from fresh f
  join threads t on (t.organization_id, t.service, t.address) = (f.organization_id, f.service, f.address)
    and t.contact is not distinct from f.contact and t.phone is not distinct from f.phone and t.user_id is not distinct from f.user_id
    and t."group" is not distinct from f."group"
  order by f.organization_id, f.contact, f."timestamp", f.n
  on conflict (organization_id, organization_address, external_id) where external_id is not null do nothing;
  get diagnostics stored = row_count;
  perform set_config('tidings.filed', '', true);
  if stored < jsonb_array_length(p_events) and p_events @? '$[*] ? (@.status != null)' then
    perform bus.complete_messages(p_events);
  end if;
end
$_$;


--
-- Name: FUNCTION store_messages(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_messages(p_events jsonb) IS 'Stores messages that came in, each once however often it is delivered.';


--
-- Name: store_numbers(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_numbers(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  e jsonb;
begin
  for e in select x from jsonb_array_elements(p_events) x order by (x ->> 'n')::bigint loop
    update public.organizations_addresses a set extra = e -> 'patch'
    from bus.numbers_of(e) n
    where (a.organization_id, a.address) = (n.organization_id, n.address)
      -- Of two that overtook each other the later one counts.
      and not coalesce((
        select bool_or(bus.as_time(a.extra #>> array['updated', u.key]) > bus.as_time(u.value))
        from jsonb_each_text(e #> '{patch,updated}') u), false);
  end loop;
end
$$;


--
-- Name: FUNCTION store_numbers(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_numbers(p_events jsonb) IS 'What is known of numbers: merged into extra.';


--
-- Name: store_progress(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_progress(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  e record;
  old jsonb;
begin
  for e in
    select * from jsonb_to_recordset(p_events) as x (
      organization_id uuid, address text, phase text, chunk numeric, progress numeric, "timestamp" timestamptz, n bigint) order by x.n
  loop
    select a.extra #> array['sync', 'history', 'phases', coalesce(e.phase, '0')] into old
    from public.organizations_addresses a where (a.organization_id, a.address) = (e.organization_id, e.address) for no key update;
    -- Chunks come in any order: how far it is, is the furthest of them.
    update public.organizations_addresses a set extra = jsonb_build_object('sync', jsonb_build_object('history', jsonb_build_object(
      'at', now(), 'error', null,
      'progress', greatest(bus.as_number(a.extra #>> '{sync,history,progress}'), e.progress),
      'phases', jsonb_build_object(coalesce(e.phase, '0'), jsonb_build_object(
        'progress', greatest(bus.as_number(old ->> 'progress'), e.progress), 'chunk', greatest(bus.as_number(old ->> 'chunk'), e.chunk))))))
    where (a.organization_id, a.address) = (e.organization_id, e.address);
  end loop;
end
$$;


--
-- Name: FUNCTION store_progress(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_progress(p_events jsonb) IS 'How far the import of a phone''s history is: organizations_addresses.extra.sync.history.';


--
-- Name: store_renames(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_renames(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  r record;
  was public.contacts_addresses;
  v_new text;
  v_old text;
begin
  for r in
    select * from jsonb_to_recordset(p_events) as e (
      organization_id uuid, service public.service, contact text, phone text, user_id text, old text[], soft boolean, n bigint)
    order by e.n
  loop
    was := null;
    foreach v_old in array r.old loop
      continue when v_old is null;
      was := public.find_address(r.organization_id, r.service, v_old, v_old);
      exit when was.address is not null;
    end loop;
    continue when was.address is null or was.address = r.contact;
    if r.phone is null and r.soft and was.extra ->> 'address_type' = 'phone' then
      update public.contacts_addresses a set extra = jsonb_build_object('bsuid', r.user_id)
      where (a.organization_id, a.service, a.address) = (was.organization_id, was.service, was.address);
      continue;
    end if;
    -- A new address with all that is known of the old one, but for what it was reached by.
    insert into public.contacts_addresses as a (organization_id, service, address, contact_id, extra)
    values (r.organization_id, r.service, r.contact, was.contact_id,
      (coalesce(was.extra, '{}') - '{phone_number,bsuid,parent_bsuid,replaced_by_address,was_bsuid}'::text[])
        || jsonb_strip_nulls(jsonb_build_object(
          'phone_number', r.phone, 'bsuid', r.user_id, 'replaces_address', was.address,
          'address_type', case when r.phone is null then 'bsuid' else 'phone' end)))
    on conflict (organization_id, service, address) do update set status = 'active', extra = excluded.extra
    returning a.address into v_new;
    update public.contacts_addresses a set extra = jsonb_build_object('bsuid', null, 'was_bsuid', was.extra ->> 'bsuid')
    where (a.organization_id, a.service, a.address) = (was.organization_id, was.service, was.address);
    perform public.merge_addresses(r.organization_id, r.service, was.address, v_new);
  end loop;
end
$$;


--
-- Name: FUNCTION store_renames(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_renames(p_events jsonb) IS 'A person''s number or user id has changed: he keeps his contact and his thread under the new address.';


--
-- Name: store_result(uuid, uuid, boolean, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  u public.messages;
  v_content jsonb;
  v_approved boolean;
begin
  delete from bus.calls k where k.organization_id = p_organization and k.message_id = p_message returning k.approved into v_approved;
  if not found then
    -- Answered already, or taken back.
    return false;
  end if;
  select * into u from public.messages m where m.organization_id = p_organization and m.id = p_message;
  v_content := jsonb_build_object('version', '1', 'task', u.content -> 'task',
    'tool', (u.content -> 'tool') || jsonb_build_object('event', 'result') || case when p_is_error then '{"is_error": true}'::jsonb else '{}' end
      || case when v_approved then '{"approved": true}'::jsonb else '{}' end)
    || case when jsonb_typeof(p_result) in ('object', 'array') then jsonb_build_object('type', 'data', 'kind', 'data', 'data', p_result)
            else jsonb_build_object('type', 'text', 'kind', 'text', 'text', coalesce(p_result #>> '{}', '')) end;
  insert into public.messages (organization_id, conversation_id, direction, agent_id, contact_address, service, organization_address,
                               group_address, content, status, "timestamp")
  values (u.organization_id, u.conversation_id, 'internal', u.agent_id, u.contact_address, u.service, u.organization_address,
    u.group_address, v_content, '{}', clock_timestamp());
  return true;
end
$$;


--
-- Name: FUNCTION store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb) IS 'Stores what a call came to, once; false when the call is not open any more.';


--
-- Name: store_statuses(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_statuses(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  strays jsonb;
begin
  -- One message's receipts together, and all messages in one statement, in an order that is the same for everyone.
  with receipts as materialized (
    select e.organization_id, e.address, e.external_id,
      jsonb_object_agg(e.state, e."timestamp" order by e."timestamp" desc) filter (where e.state is not null) as status,
      (array_agg(e.errors order by e.n desc) filter (where e.errors is not null))[1] as errors,
      max(e.message_id) as message_id, array_agg(e.extra order by e.n) filter (where e.extra is not null) as extras
    from jsonb_to_recordset(p_events) as e (
      organization_id uuid, address text, external_id text, message_id text, state text, "timestamp" timestamptz, errors jsonb, extra jsonb, n bigint)
    group by e.organization_id, e.address, e.external_id
  ), told as materialized (
    select r.*, coalesce(r.status, '{}') || case when r.errors is null then '{}' else jsonb_build_object('errors', r.errors) end as news
    from receipts r order by r.organization_id, r.address, r.external_id
  ), found as materialized (
    select t.*, m.id, m.status as old_status, m.extra as old_extra
    from told t
    left join public.messages m on (m.organization_id, m.organization_address, m.external_id) = (t.organization_id, t.address, t.external_id)
  ), applied as (
    update public.messages m set
      status = f.news,
      extra = case when f.extras is null then m.extra else bus.merge_all('{}', f.extras) end
    from found f
    where m.organization_id = f.organization_id and m.id = f.id
      -- Repeating one changes nothing, and costs no row version.
      and (case
             when f.old_status @> f.news then false
             when f.old_status ?| array(select jsonb_object_keys(f.news)) then public.merge_status(f.old_status, f.news, 'outgoing') is distinct from f.old_status
             else true
           end
        or (f.extras is not null and (f.old_extra is null or not f.old_extra @> bus.merge_all('{}', f.extras))))
  )
  select jsonb_agg(to_jsonb(f)) into strays from found f where f.id is null;
  if strays is not null then
    perform bus.store_strays(strays);
  end if;
end
$$;


--
-- Name: FUNCTION store_statuses(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_statuses(p_events jsonb) IS 'Applies receipts to their messages, found by the provider''s id or by ours; those without a message wait in bus.orphans. Repeating one changes nothing.';


--
-- Name: store_strays(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_strays(p_strays jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  s record;
  m record;
begin
  perform pg_advisory_xact_lock(h) from (
    select distinct bus.arrival(x.address, x.external_id) as h
    from jsonb_to_recordset(p_strays) as x (address text, external_id text) order by 1) locks;
  for s in
    select x.*, case when x.extras is not null then bus.merge_all('{}', x.extras) end as extra
    from jsonb_to_recordset(p_strays) as x (organization_id uuid, address text, external_id text, message_id text, news jsonb, extras jsonb[])
  loop
    m := null;
    if s.message_id is not null then
      -- Our own id, which the send carried: settles an attempt whose answer was lost.
      select x.id into m from public.messages x
      where x.organization_id = s.organization_id and x.id = s.message_id::uuid and x.organization_address = s.address
        and x.direction = 'outgoing' and x.external_id is null;
      if found then
        perform bus.settle_unknown(s.organization_id, m.id, s.external_id, s.news);
        update public.messages x set extra = s.extra where x.organization_id = s.organization_id and x.id = m.id and s.extra is not null;
        continue;
      end if;
      -- Somebody else's word, for whoever it was sent by.
      s.extra := coalesce(s.extra, '{}') || jsonb_build_object('callback_data', s.message_id);
    end if;
    if not bus.orphan(s.organization_id, s.address, s.external_id, s.news, null, s.extra) then
      update public.messages x set status = s.news, extra = coalesce(s.extra, x.extra)
      where (x.organization_id, x.organization_address, x.external_id) = (s.organization_id, s.address, s.external_id);
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION store_strays(p_strays jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_strays(p_strays jsonb) IS 'Receipts whose message has no such id yet.';


--
-- Name: store_sync(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_sync(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  s record;
  a public.contacts_addresses;
  v_contact uuid;
  v_synced jsonb;
begin
  for s in
    select * from jsonb_to_recordset(p_events) as e (
      organization_id uuid, service public.service, contact text, phone text, user_id text, extra jsonb,
      action text, name text, "timestamp" timestamptz, n bigint)
    order by e."timestamp", e.n
  loop
    perform bus.meet(s.organization_id, s.service, s.contact, s.phone, s.user_id, s.extra, s.action = 'add');
    select * into a from public.contacts_addresses x
    where (x.organization_id, x.service, x.address)
      = (s.organization_id, s.service, public.address_of(s.organization_id, s.service, s.contact, s.phone, s.user_id)) for update;
    continue when not found or bus.as_time(a.extra #>> '{synced,at}') > s."timestamp";
    v_synced := jsonb_build_object('synced', jsonb_strip_nulls(jsonb_build_object('name', s.name, 'action', s.action, 'at', s."timestamp")));
    v_contact := a.contact_id;
    if s.action = 'remove' then
      update public.contacts_addresses x set contact_id = null, extra = v_synced
      where (x.organization_id, x.service, x.address) = (a.organization_id, a.service, a.address);
      delete from public.contacts c
      where c.organization_id = a.organization_id and c.id = v_contact
        and not exists (select from public.contacts_addresses o where o.organization_id = c.organization_id and o.contact_id = c.id and o.status = 'active');
      continue;
    end if;
    if v_contact is null then
      insert into public.contacts (organization_id, name) values (s.organization_id, s.name) returning id into v_contact;
    else
      -- Renamed on the phone; unless somebody has given him another name here.
      update public.contacts c set name = s.name
      where c.organization_id = a.organization_id and c.id = v_contact and s.name is not null
        and (c.name is null or c.name = a.extra #>> '{synced,name}') and c.name is distinct from s.name;
    end if;
    update public.contacts_addresses x set contact_id = v_contact, extra = v_synced
    where (x.organization_id, x.service, x.address) = (a.organization_id, a.service, a.address);
  end loop;
end
$$;


--
-- Name: FUNCTION store_sync(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_sync(p_events jsonb) IS 'The address book of a phone: contacts added, renamed and removed. Repeating an entry changes nothing, an older one never undoes a newer.';


--
-- Name: store_templates(jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.store_templates(p_events jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  e jsonb;
  a public.organizations_addresses;
  p jsonb;
begin
  -- What Meta tells of a template is no edit of ours.
  perform set_config('tidings.synchronising', 'on', true);
  for e in select x from jsonb_array_elements(p_events) x order by x ->> 'timestamp', (x ->> 'n')::bigint loop
    p := e -> 'patch';
    for a in select distinct on (n.organization_id) n.* from bus.numbers_of(e) n order by n.organization_id, n.status = 'connected' desc, n.address loop
      update public.templates t set
        external_id = e ->> 'external_id',
        status = coalesce(p ->> 'status', t.status),
        category = case when upper(p ->> 'category') in ('MARKETING', 'UTILITY', 'AUTHENTICATION') then upper(p ->> 'category') else t.category end,
        quality = coalesce(p ->> 'quality', t.quality),
        rejected_reason = case when p ? 'status' then p ->> 'rejected_reason' else t.rejected_reason end,
        extra = coalesce(p -> 'extra', '{}')
          || case when p ->> 'status' is null then '{}' else jsonb_build_object('meta_status', p ->> 'status') end
          || jsonb_build_object('told', jsonb_build_object(e ->> 'kind_of', e -> 'timestamp'))
      where t.organization_id = a.organization_id and t.waba_id = e ->> 'waba'
        and (t.external_id = e ->> 'external_id' or (t.external_id is null and t.name = e ->> 'name' and t.language = e ->> 'language'))
        and coalesce(bus.as_time(t.extra #>> array['told', e ->> 'kind_of']) <= (e ->> 'timestamp')::timestamptz, true);
      if e -> 'sync' = 'true' or (not found and not exists (
        select from public.templates t where t.organization_id = a.organization_id and t.external_id = e ->> 'external_id')) then
        -- Made elsewhere, or told in part only: the whole of it comes from Meta.
        perform public.sync_templates(a.organization_id, a.address);
      end if;
    end loop;
  end loop;
  perform set_config('tidings.synchronising', '', true);
end
$$;


--
-- Name: FUNCTION store_templates(p_events jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.store_templates(p_events jsonb) IS 'Status, category, quality and components of templates, as webhooks report them.';


--
-- Name: tool_attach(public.conversations, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_attach(c public.conversations, p_agent uuid, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform bus.answer(c, p_agent, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'version', '1', 'type', 'file', 'kind', 'document', 'file', jsonb_build_object('uri', p ->> 'file_uri', 'name', p ->> 'name'), 'text', p ->> 'caption'))), 'outgoing', '{"tool": "attach_file"}');
  return jsonb_build_object('sent', p ->> 'file_uri');
end
$$;


--
-- Name: FUNCTION tool_attach(c public.conversations, p_agent uuid, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_attach(c public.conversations, p_agent uuid, p jsonb) IS 'attach_file {file_uri, name, caption}: sends a stored file of the organization to the contact.';


--
-- Name: tool_contacts(public.conversations, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_contacts(c public.conversations, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
  v_what text := btrim(coalesce(p ->> 'query', ''));
begin
  if length(v_what) < 2 then
    raise exception 'query: give at least two characters of a name, or the digits of a phone number';
  end if;
  return jsonb_build_object('contacts', coalesce((
    select jsonb_agg(to_jsonb(x)) from (
      select coalesce(k.name, a.extra ->> 'name') as name, a.address as contact_address, a.extra ->> 'phone_number' as phone_number
      -- A look through an address book, not through a telephone directory: others wait behind us.
      from (
        select * from public.contacts_addresses b where b.organization_id = c.organization_id and b.service = c.service limit 50000) a
      left join public.contacts k on k.organization_id = a.organization_id and k.id = a.contact_id
      where (strpos(lower(coalesce(k.name, '')), lower(v_what)) > 0 or strpos(lower(coalesce(a.extra ->> 'name', '')), lower(v_what)) > 0
          or (bus.digits(v_what) ~ '^[0-9]{3,}$' and (strpos(a.address, bus.digits(v_what)) > 0 or strpos(coalesce(a.extra ->> 'phone_number', ''), bus.digits(v_what)) > 0)))
      order by 1, 2 limit 20) x), '[]'));
end
$_$;


--
-- Name: FUNCTION tool_contacts(c public.conversations, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_contacts(c public.conversations, p jsonb) IS 'search_contacts {query}: people of the organization by name or phone number.';


--
-- Name: tool_conversation(public.conversations, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_conversation(c public.conversations, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  x public.conversations;
begin
  x := bus.conversation_with(c, p ->> 'contact');
  if x.id is null then
    raise exception 'there is no conversation with %', coalesce(p ->> 'contact', 'nobody: give contact, a phone number or contact_address');
  end if;
  return jsonb_build_object('conversation_id', x.id, 'contact_address', x.contact_address,
    'service_window', (select w.state from public.conversations_windows w where w.organization_id = x.organization_id and w.conversation_id = x.id),
    'unread', (
      select count(*) from (
        select m.status from public.messages m
        where m.organization_id = x.organization_id and m.conversation_id = x.id and m.direction = 'incoming' order by m."timestamp" desc limit 100) m
      where not m.status ? 'read'),
    'messages', coalesce((
      select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('message_id', m.id, 'direction', m.direction, 'at', m."timestamp", 'kind', m.content ->> 'kind',
        'text', left(m.content ->> 'text', 1000))) order by m."timestamp", m.id)
      from (
        select * from public.messages m
        where m.organization_id = x.organization_id and m.conversation_id = x.id and m.direction <> 'internal'
        order by m."timestamp" desc, m.id desc limit greatest(1, least(50, coalesce(bus.as_number(p ->> 'limit'), 10)))::int) m), '[]'));
end
$$;


--
-- Name: FUNCTION tool_conversation(c public.conversations, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_conversation(c public.conversations, p jsonb) IS 'get_conversation {contact, limit}: what was said with a contact, its 24-hour window, and how much is unread.';


--
-- Name: tool_pass(public.conversations, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_pass(c public.conversations, p_agent uuid, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  a public.agents;
begin
  select * into a from public.agents x
  where x.organization_id = c.organization_id and (x.id::text = p ->> 'agent' or lower(x.name) = lower(p ->> 'agent')) and bus.answers(x, c)
  order by x.id::text = p ->> 'agent' desc, x.created_at limit 1;
  if a.id is null then
    raise exception 'there is no such agent; there are: %', coalesce((
      select string_agg(x.name || coalesce(' (' || left(x.extra ->> 'description', 200) || ')', ''), ', ' order by x.created_at)
      from public.agents x where x.organization_id = c.organization_id and x.id <> p_agent and bus.answers(x, c)), 'none');
  elsif a.id = p_agent then
    raise exception 'that is you';
  end if;
  if coalesce(p ->> 'note', '') <> '' then
    perform bus.answer(c, p_agent, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'text', 'kind', 'note', 'text', left(p ->> 'note', 4000))), 'internal');
  end if;
  update public.conversations x set extra = jsonb_build_object('assigned_agent_id', a.id) where x.organization_id = c.organization_id and x.id = c.id;
  return jsonb_strip_nulls(jsonb_build_object('passed_to', a.name, 'note', left(p ->> 'note', 4000)));
end
$$;


--
-- Name: FUNCTION tool_pass(c public.conversations, p_agent uuid, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_pass(c public.conversations, p_agent uuid, p jsonb) IS 'pass_to_agent {agent, note}: another agent of the organization answers from here on.';


--
-- Name: tool_remember(public.conversations, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_remember(c public.conversations, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_key text := nullif(left(btrim(p ->> 'key'), 100), '');
  v_memory jsonb;
begin
  if v_key is null then
    raise exception 'key: say in a word or two what the fact is about';
  end if;
  select x.extra -> 'memory' into v_memory from public.conversations x where x.organization_id = c.organization_id and x.id = c.id;
  if p ->> 'value' is not null and not coalesce(v_memory ? v_key, false)
    and (select count(*) from jsonb_object_keys(case when jsonb_typeof(v_memory) = 'object' then v_memory else '{}' end)) >= 50 then
    raise exception 'fifty facts are the limit: forget one first (its key with a null value)';
  end if;
  update public.conversations x
  set extra = jsonb_build_object('memory', jsonb_build_object(v_key, left(p ->> 'value', 1000)))
  where x.organization_id = c.organization_id and x.id = c.id;
  return jsonb_build_object(case when p ->> 'value' is null then 'forgotten' else 'remembered' end, v_key);
end
$$;


--
-- Name: FUNCTION tool_remember(c public.conversations, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_remember(c public.conversations, p jsonb) IS 'remember {key, value}: a fact about the contact, kept in conversations.extra.memory; a null value forgets it.';


--
-- Name: tool_send(public.conversations, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_send(c public.conversations, p_agent uuid, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  x public.conversations := bus.conversation_with(c, p ->> 'contact');
  v_contact text := coalesce(x.contact_address, bus.digits(p ->> 'contact'));
  v_address text := coalesce(x.organization_address, c.organization_address);
  v_content jsonb;
  m public.messages;
begin
  if coalesce(v_contact, '') = '' then
    raise exception 'contact: give a phone number or a contact_address';
  elsif x.id = c.id then
    raise exception 'that is the conversation you are in: answer there instead';
  end if;
  if jsonb_typeof(p -> 'template') = 'object' then
    v_content := jsonb_build_object('version', '1', 'type', 'data', 'kind', 'template', 'data', p -> 'template');
  elsif coalesce(p ->> 'text', '') <> '' then
    if c.service = 'whatsapp' and public.window_is_closed(c.organization_id, v_address, v_contact) then
      raise exception 'the 24-hour window of this contact is closed: only a template can be sent';
    end if;
    v_content := jsonb_build_object('version', '1', 'type', 'text', 'kind', 'text', 'text', p ->> 'text');
  else
    raise exception 'give text, or template {name, language: {code}, components}';
  end if;
  insert into public.messages (organization_id, organization_address, contact_address, service, direction, agent_id, content)
  values (c.organization_id, v_address, v_contact, c.service, 'outgoing', p_agent, v_content) returning * into m;
  return jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id, 'next', 'get_status tells whether it has arrived');
end
$$;


--
-- Name: FUNCTION tool_send(c public.conversations, p_agent uuid, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_send(c public.conversations, p_agent uuid, p jsonb) IS 'send_message {contact, text | template}: writes to another contact of the organization.';


--
-- Name: tool_status(public.conversations, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_status(c public.conversations, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
  m public.messages;
begin
  select * into m from public.messages x where x.organization_id = c.organization_id and x.id = case when p ->> 'message_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (p ->> 'message_id')::uuid end and x.direction = 'outgoing';
  if m.id is null then
    raise exception 'there is no message % that was sent', p ->> 'message_id';
  end if;
  return jsonb_build_object('message_id', m.id, 'status', m.status);
end
$_$;


--
-- Name: FUNCTION tool_status(c public.conversations, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_status(c public.conversations, p jsonb) IS 'get_status {message_id}: what became of a message that was sent.';


--
-- Name: tool_transfer(public.conversations, uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.tool_transfer(c public.conversations, p_agent uuid, p jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  return jsonb_build_object('status', 'requested', 'conversation_id', c.id,
    'requested_at', bus.hand_over(c, p_agent, p ->> 'reason', p ->> 'note', true),
    'next', 'A person will answer from here on. You may tell the customer so now; it is the last you can say.');
end
$$;


--
-- Name: FUNCTION tool_transfer(c public.conversations, p_agent uuid, p jsonb); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.tool_transfer(c public.conversations, p_agent uuid, p jsonb) IS 'transfer_to_human_agent {reason, note}: asks for a person and silences the agent.';


--
-- Name: try_learn(uuid, jsonb); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.try_learn(p_organization uuid, p_learned jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform bus.learn(p_organization, p_learned);
exception
  when serialization_failure or deadlock_detected or lock_not_available or insufficient_resources or operator_intervention then
    raise;
  when others then
    -- The message has gone out, whatever is wrong with the address book.
    insert into public.logs (organization_id, level, category, service, message, metadata)
    values (p_organization, 'warning', 'contacts', 'whatsapp', 'what the provider said of a recipient could not be stored: ' || sqlerrm, p_learned);
end
$$;


--
-- Name: waits_for_media(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.waits_for_media(p_organization uuid, p_conversation uuid) RETURNS double precision
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  return (
    -- Half a minute from its arrival a file has to come, and to be read within a minute; then the answer goes without it.
    select extract(epoch from max(case when w.queue = 'media' then w.created_at + interval '30 s' else w.created_at + interval '60 s' end) - clock_timestamp())::float8
    from (
      select m.created_at, (
        select t.queue from bus.tasks t
        where t.organization_id = p_organization and t.queue in ('media', 'preprocess') and t.key = m.id::text order by t.queue desc limit 1) as queue
      from (
        select x.* from public.messages x
        where x.organization_id = p_organization and x.conversation_id = p_conversation and x."timestamp" > now() - interval '1 hour'
        order by x."timestamp" desc limit 20) m
      where m.direction = 'incoming' and m.content ->> 'type' = 'file' and m.created_at > clock_timestamp() - interval '60 s') w
    where w.queue is not null);
end
$$;


--
-- Name: FUNCTION waits_for_media(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.waits_for_media(p_organization uuid, p_conversation uuid) IS 'For how many seconds an agent should still wait for files that are being fetched or read; null, or none, for not at all.';


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
-- Name: wake_for_media(uuid, uuid); Type: FUNCTION; Schema: bus; Owner: -
--

CREATE FUNCTION bus.wake_for_media(p_organization uuid, p_conversation uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update bus.tasks t set run_at = clock_timestamp(), waits_for = null
  where t.organization_id = p_organization and t.queue = 'agent' and t.key = p_conversation::text and t.waits_for = 'media' and t.worker is null;
  if found then
    perform bus.ring('agent');
  end if;
end
$$;


--
-- Name: FUNCTION wake_for_media(p_organization uuid, p_conversation uuid); Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON FUNCTION bus.wake_for_media(p_organization uuid, p_conversation uuid) IS 'A file is there, or will not come: who waits for it looks. The caller has the conversation locked, as whoever decides to wait has.';


--
-- Name: address_of(uuid, public.service, text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  current text := p_contact;
  next_one text;
begin
  if exists (select from public.contacts_addresses a
             where (a.organization_id, a.service, a.address) = (p_organization, p_service, p_contact) and a.status = 'active') then
    return p_contact;
  end if;
  next_one := (public.find_address(p_organization, p_service, p_phone, p_user_id)).address;
  if next_one is not null then
    return next_one;
  end if;
  -- Somebody who writes to an address that was given up reaches who took its place.
  for i in 1..5 loop
    select a.extra ->> 'replaced_by_address' into next_one from public.contacts_addresses a
    where (a.organization_id, a.service, a.address) = (p_organization, p_service, current);
    exit when next_one is null;
    current := next_one;
  end loop;
  return current;
end
$$;


--
-- Name: FUNCTION address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text) IS 'The address under which a person is filed, for one that a payload or a client names: itself, unless he is known by another.';


--
-- Name: after_delete_on_approvals(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_delete_on_approvals() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- Not where the conversation or the call itself is going.
  if exists (select from public.conversations c where c.organization_id = old.organization_id and c.id = old.conversation_id)
    and exists (select from public.messages m where m.organization_id = old.organization_id and m.id = old.message_id) then
    perform bus.store_result(old.organization_id, old.message_id, true, to_jsonb('not called: the question whether it may be was withdrawn'::text));
    perform bus.resume_run(old.organization_id, old.conversation_id);
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_delete_on_approvals(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_delete_on_approvals() IS 'A question that is deleted, by whatever road, does not keep its run waiting.';


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
-- Name: after_extra_on_organizations_addresses(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_extra_on_organizations_addresses() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  update bus.lanes l set rate = public.messages_a_second(new.extra), updated_at = now()
  where l.organization_id = new.organization_id and l.lane = new.address and l.rate <> public.messages_a_second(new.extra);
  return null;
end
$$;


--
-- Name: FUNCTION after_extra_on_organizations_addresses(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_extra_on_organizations_addresses() IS 'The pace of a number follows its throughput tier.';


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
  has record;
begin
  -- One look at what there is; most inserts are of one kind, and each of the following costs something.
  select bool_or(n.direction = 'incoming') as incoming, bool_or(n.direction = 'outgoing') as outgoing,
    bool_or(n.external_id is not null) as known, bool_or(n.content ->> 'type' = 'file') as files
  into has from inserted n;

  if has.outgoing then
    -- Outgoing rows go to dispatch. Templates and whatever comes by the dozen are broadcasts: they let answers pass.
    insert into bus.tasks (queue, organization_id, key, lane, subject, priority, due_at, run_at, waits_for)
    select 'dispatch', n.organization_id, n.conversation_id::text, n.organization_address, n.id::text,
      case when n.content ->> 'kind' = 'template' or count(*) over (partition by n.organization_id) > 10 then 1 else 0 end,
      n."timestamp", greatest(n."timestamp", moment),
      case when n.service = 'whatsapp' and n.content ->> 'type' = 'file' then storage.upload_key(n.content -> 'file') end
    from inserted n
    where n.direction = 'outgoing' and n.service <> 'local' and n.status ? 'pending' and n.external_id is null
    order by n."timestamp", n.id;
    if found then
      perform bus.ring('dispatch');
    end if;

    -- A person has taken over: a human agent wrote, or the business did on its phone (an echo comes without pending).
    update public.conversations c set extra = jsonb_build_object('paused', moment)
      || case when c.extra #>> '{handoff,status}' = 'requested' then jsonb_build_object('handoff', jsonb_build_object('status', 'accepted', 'accepted_at', moment)) else '{}' end
    from (
      select distinct n.organization_id, n.conversation_id
      from inserted n
      left join public.agents a on a.organization_id = n.organization_id and a.id = n.agent_id
      where n.direction = 'outgoing' and n.service <> 'local' and n."timestamp" <= moment + interval '1 minute'
        -- A client that writes in a person's stead says so.
        and ((a.ai = false and n.status ? 'pending') or n.extra -> 'takeover' = 'true'
          or (n.agent_id is null and not n.status ?| '{pending,standby}' and n."timestamp" > moment - interval '1 minute'
            -- Not the echo of what is being sent from here at this moment.
            and not exists (
              select from bus.tasks t
              where t.organization_id = n.organization_id and t.queue = 'dispatch' and t.key = n.conversation_id::text and t.worker is not null)))
    ) n
    where c.organization_id = n.organization_id and c.id = n.conversation_id;
  end if;

  if has.incoming then
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
      -- For who waited for something else, the burst begins now.
      created_at = case when t.worker is null and t.waits_for is not null then moment else t.created_at end,
      waits_for = case when t.worker is null then null else t.waits_for end,
      -- A running one keeps its lease and learns from the version. A waiting one waits for the burst to end, but not for ever.
      run_at = case when t.worker is not null and t.run_at > moment then t.run_at
                    when t.waits_for is not null then excluded.run_at
                    else greatest(moment, least(excluded.run_at, t.created_at + interval '30 s' + 2 * (excluded.run_at - moment))) end;
    if found then
      perform bus.ring('agent');
    end if;

    -- What people sent (or called) themselves opens the 24-hour window; not what was imported, nor what the business wrote.
    perform bus.open_windows(array_agg(n.organization_id), array_agg(n.organization_address), array_agg(n.contact_address), array_agg(n."timestamp"))
    from inserted n
    where n.direction = 'incoming' and n.service in ('whatsapp', 'instagram') and n.group_address is null and n.contact_address is not null
      and (n.status ?| '{pending,standby}' or n.content ->> 'kind' = 'call')
    having count(*) > 0;
  end if;

  if has.files then
    -- Files that the provider still keeps.
    perform bus.fetch_media(n.organization_id, n.id) from inserted n
    where n.content ->> 'type' = 'file' and n.external_id is not null and n.service in ('whatsapp', 'instagram')
      and n.content #>> '{file,uri}' not like 'internal://%';
    -- And those that are here already.
    perform bus.preprocess(n.organization_id, n.id) from inserted n
    where n.content ->> 'type' = 'file' and n.direction <> 'internal' and n.status ? 'pending' and n.content #>> '{file,uri}' like 'internal://%';
    perform storage.use_files(array_agg(n.organization_id), array_agg(storage.name_of(n.content #>> '{file,uri}'))) from inserted n
    where n.content ->> 'type' = 'file' having count(*) > 0;
  end if;

  if has.known then
    -- Receipts, edits and revocations that were here first. The lock comes before the look: whoever stores one of them
    -- without its message takes the same. Nobody races for what is old; bus.prune finds what slips through.
    perform pg_advisory_xact_lock(h) from (
      select distinct bus.arrival(n.organization_address, n.external_id) as h
      from inserted n where n.external_id is not null and n."timestamp" > moment - interval '1 hour' order by 1) locks;
    if exists (select from bus.orphans) then
      perform bus.adopt_orphans(n.organization_id, n.organization_address, n.external_id)
      from inserted n
      join bus.orphans o on (o.organization_id, o.organization_address, o.external_id) = (n.organization_id, n.organization_address, n.external_id);
    end if;
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_insert_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_insert_on_messages() IS 'Once per statement: tasks for dispatch and agent in the same transaction, the pause when a person takes over, receipts that came early.';


--
-- Name: after_insert_on_operations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_insert_on_operations() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- One number's operations run one after the other.
  insert into bus.tasks (queue, organization_id, key, subject)
  select 'manage', n.organization_id, coalesce(n.organization_address, n.id::text), n.id::text from inserted n where n.state = 'pending' order by n.id;
  perform bus.ring('manage');
  return null;
end
$$;


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
-- Name: after_operation(uuid, uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_operation(p_organization uuid, p_operation uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  o public.operations;
begin
  select * into o from public.operations x where x.organization_id = p_organization and x.id = p_operation;
  -- A code is good for once.
  delete from secrets.credentials c where (c.organization_id, c.subject, c.subject_key) = (o.organization_id, 'operations', o.id::text)
    and (o.state = 'done' or c.path = 'code');
  if o.kind like 'template\_%' then
    perform public.after_template_operation(o);
  elsif o.kind = 'check' and o.state = 'done' then
    update public.organizations_addresses a set extra = jsonb_build_object(
      'checked_at', now(),
      'attention', case when o.output -> 'ok' = 'true' then
          case when a.extra #>> '{attention,by}' in ('check', 'sending') then 'null'::jsonb else coalesce(a.extra -> 'attention', 'null') end
        else jsonb_build_object('by', 'check', 'at', now(), 'reason', (
          select string_agg(c ->> 'message', '; ') from jsonb_array_elements(o.output -> 'checks') c where c -> 'ok' = 'false')) end)
    where a.organization_id = o.organization_id and a.address = o.organization_address;
  elsif o.kind = 'login_refresh' and o.state = 'failed' then
    update public.organizations_addresses a set extra = jsonb_build_object('needs_reauth', true, 'attention', jsonb_build_object(
      'by', 'login', 'at', now(), 'reason', 'the account''s token could not be renewed: somebody has to log in again'))
    where a.organization_id = o.organization_id and a.address = o.organization_address;
  elsif o.kind in ('block', 'unblock') and o.state = 'done' then
    update public.contacts_addresses a set extra = jsonb_build_object('blocked',
      case when o.kind = 'block' then jsonb_build_object(o.organization_address, now()) else jsonb_build_object(o.organization_address, null) end)
    where a.organization_id = o.organization_id and a.service = 'whatsapp'
      and a.address = public.address_of(o.organization_id, 'whatsapp', o.input ->> 'contact_address', o.input ->> 'contact_address', o.input ->> 'contact_address');
  end if;
  if o.kind in ('signup', 'deregister') or (o.state = 'failed' and o.kind not in ('contact_profile', 'template_draft')) then
    insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
    values (o.organization_id,
      (select a.address from public.organizations_addresses a where a.organization_id = o.organization_id and a.address = o.organization_address),
      case when o.state = 'failed' then 'error' else 'info' end::public.log_level, o.kind, 'whatsapp',
      case when o.state = 'failed' then replace(o.kind, '_', ' ') || ' failed: ' || coalesce(o.error ->> 'message', 'no reason given') else o.kind || ' done' end,
      jsonb_build_object('operation_id', o.id, 'error', o.error));
  end if;
end
$$;


--
-- Name: FUNCTION after_operation(p_organization uuid, p_operation uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_operation(p_organization uuid, p_operation uuid) IS 'What follows from the outcome of an operation: states of numbers and contacts, a line in the log.';


--
-- Name: after_pause_on_conversations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_pause_on_conversations() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  newest public.messages;
begin
  if new.extra ->> 'paused' is not null then
    -- Whoever thinks at this moment is outdated.
    update bus.tasks t set version = t.version + 1
    where t.organization_id = new.organization_id and t.queue = 'agent' and t.key = new.id::text and t.worker is not null
      and new.extra #>> '{handoff,requested_at}' is distinct from new.extra ->> 'paused';
    if found then
      perform bus.ring('agent');
    end if;
    return null;
  end if;
  -- Handed back on request: a question that nobody answered meanwhile is answered now. The run finds out whether there is one.
  select * into newest from public.messages m
  where m.organization_id = new.organization_id and m.conversation_id = new.id and m.direction = 'incoming'
  order by m."timestamp" desc, m.id desc limit 1;
  if (newest.status ? 'pending' and newest."timestamp" > now() - interval '24 hours')
    or exists (select from bus.calls k where k.organization_id = new.organization_id and k.conversation_id = new.id) then
    perform bus.resume_run(new.organization_id, new.id);
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_pause_on_conversations(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_pause_on_conversations() IS 'A pause interrupts the run; taking it back lets the agent answer what is still open.';


--
-- Name: after_read_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_read_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- One for the conversation: reading a message reads those before it.
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('receipts', new.organization_id, new.conversation_id::text, new.id::text, true)
  on conflict (organization_id, queue, key) where single do update set
    version = t.version + 1, run_at = case when t.worker is not null then t.run_at else clock_timestamp() end,
    subject = case when (select m."timestamp" from public.messages m where m.organization_id = t.organization_id and m.id = t.subject::uuid) > new."timestamp"
      then t.subject else excluded.subject end;
  perform bus.ring('receipts');
  return null;
end
$$;


--
-- Name: FUNCTION after_read_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_read_on_messages() IS 'Writing read or typing into an incoming row asks for a read receipt or a typing indicator.';


--
-- Name: operations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operations (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    organization_address text,
    kind text NOT NULL,
    input jsonb DEFAULT '{}'::jsonb NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    steps jsonb DEFAULT '{}'::jsonb NOT NULL,
    output jsonb,
    error jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT operations_input_object CHECK ((jsonb_typeof(input) = 'object'::text)),
    CONSTRAINT operations_kind CHECK ((kind = ANY (ARRAY['signup'::text, 'deregister'::text, 'check'::text, 'refresh'::text, 'profile'::text, 'settings'::text, 'sync_phone'::text, 'templates'::text, 'template_submit'::text, 'template_edit'::text, 'template_delete'::text, 'template_draft'::text, 'block'::text, 'unblock'::text, 'contact_profile'::text, 'pairing'::text, 'login'::text, 'login_refresh'::text]))),
    CONSTRAINT operations_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'done'::text, 'failed'::text])))
);


--
-- Name: TABLE operations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.operations IS 'What was asked of Meta about a number, and what came of it: inserting a row asks, the outcome is written back. Kept for 90 days.';


--
-- Name: COLUMN operations.kind; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.operations.kind IS 'signup, deregister, check (does everything work?), refresh (profile, settings, health), profile and settings (change them), sync_phone (history and contacts of a phone), templates (synchronise), template_*, block, unblock, contact_profile, login and login_refresh (Instagram), pairing (a bridge''s session).';


--
-- Name: COLUMN operations.steps; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.operations.steps IS 'Steps that are done, each with its time: a repeated operation goes on after them.';


--
-- Name: COLUMN operations.error; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.operations.error IS '{code, title, message, error_data?, status?}: why it failed, in the shape of Meta''s errors.';


--
-- Name: after_template_operation(public.operations); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_template_operation(o public.operations) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform set_config('tidings.synchronising', 'on', true);
  if o.state = 'failed' then
    update public.templates t set
      error = o.error,
      -- An edit that was refused leaves Meta's version in force: the synchronisation brings it back.
      status = case when t.status in ('submitting', 'drafting') then 'failed' when t.status = 'editing' then coalesce(t.extra ->> 'meta_status', 'failed') else t.status end
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id';
  else
    update public.templates t set
      external_id = coalesce(o.output ->> 'id', t.external_id),
      -- A webhook may have been faster than the answer.
      status = case when t.status in ('submitting', 'editing', 'drafting', 'failed')
        then coalesce(o.output ->> 'status', case when t.status = 'editing' then 'PENDING' else t.status end) else t.status end,
      category = coalesce(upper(o.output ->> 'category'), t.category),
      components = case when o.output -> 'sent' is null or t.components is null or t.components = o.output -> 'sent'
        then coalesce(o.output -> 'components', t.components) else t.components end,
      extra = jsonb_build_object('meta_status', coalesce(o.output ->> 'status', 'PENDING')),
      error = null
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id';
  end if;
  perform set_config('tidings.synchronising', '', true);
  if o.state = 'done' and o.kind in ('template_submit', 'template_edit') and o.output -> 'sent' is not null then
    -- Changed again while it was on its way: the change follows.
    update public.templates t set status = 'editing'
    where t.organization_id = o.organization_id and t.id::text = o.input ->> 'template_id' and t.external_id is not null
      and t.components is distinct from o.output -> 'components' and t.components is distinct from o.output -> 'sent' and t.status <> 'editing';
  end if;
  if o.kind in ('template_delete', 'template_edit') and o.state = 'failed' and exists (
    select from public.organizations_addresses a where a.organization_id = o.organization_id and a.address = o.organization_address) then
    -- What Meta has is still as it was: the row follows.
    perform public.sync_templates(o.organization_id, o.organization_address);
  end if;
end
$$;


--
-- Name: FUNCTION after_template_operation(o public.operations); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_template_operation(o public.operations) IS 'Writes what Meta said of a template into its row.';


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
-- Name: after_update_on_approvals(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_update_on_approvals() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if new.state = 'granted' then
    update bus.calls k set state = 'ready', approved = true
    where (k.organization_id, k.conversation_id, k.message_id) = (new.organization_id, new.conversation_id, new.message_id) and k.state = 'asked';
  else
    perform bus.store_result(new.organization_id, new.message_id, true, to_jsonb(case new.state
      when 'refused' then 'a person refused this call' || coalesce(': ' || new.note, '')
      else 'nobody approved this call in time; it was not made' end));
  end if;
  if new.state in ('granted', 'refused') then
    perform bus.resume_run(new.organization_id, new.conversation_id);
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_update_on_approvals(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_update_on_approvals() IS 'A granted call is made, a refused one is told to the model; either way the run goes on.';


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
    if new.extra ->> 'waba_id' is not null then
      perform pg_advisory_xact_lock(hashtextextended('number ' || (new.extra ->> 'waba_id'), 0));
      perform bus.replay_parked(p_address => new.extra ->> 'waba_id');
    end if;
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
-- Name: after_write_templates(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.after_write_templates() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'DELETE' then
    if old.external_id is not null and current_setting('tidings.synchronising', true) is distinct from 'on'
      and exists (select from public.organizations_addresses a where a.organization_id = old.organization_id and a.address = old.organization_address) then
      perform public.operate(old.organization_id, old.organization_address, 'template_delete',
        jsonb_build_object('name', old.name, 'external_id', old.external_id, 'language', old.language));
    end if;
    return null;
  end if;
  if new.status in ('submitting', 'editing', 'drafting') and (tg_op = 'INSERT' or new.status <> old.status) then
    perform public.operate(new.organization_id, new.organization_address,
      case new.status when 'submitting' then 'template_submit' when 'editing' then 'template_edit' else 'template_draft' end,
      jsonb_build_object('template_id', new.id));
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION after_write_templates(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.after_write_templates() IS 'A new, changed or deleted template asks for its operation.';


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
    AS $_$
declare
  c public.conversations;
begin
  perform public.check_content(new.content, new.direction, new.service = 'whatsapp' and new.status ? 'pending');
  if new.content ->> 'type' = 'file' then
    perform storage.check_file(new);
  end if;
  if new.conversation_id is null then
    if new.service <> 'local' and new.contact_address is null and new.group_address is null then
      perform public.refuse_content('contact_address', 'is missing (or give group_address or conversation_id)');
    end if;
    select t.contact_address, t.conversation_id into new.contact_address, new.conversation_id
    from public.thread_of(new.organization_id, new.service, new.organization_address, new.contact_address,
      case when new.contact_address ~ '^[0-9]+$' then new.contact_address end,
      case when new.contact_address !~ '^[0-9]+$' then new.contact_address end, new.group_address) t;
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
$_$;


--
-- Name: FUNCTION before_insert_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_insert_on_messages() IS 'Checks the content, finds or makes the conversation, and delivers local messages on the spot.';


--
-- Name: before_insert_on_operations(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_insert_on_operations() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  k text;
begin
  if new.kind not in ('signup', 'login', 'pairing') and not exists (
    select from public.organizations_addresses a where a.organization_id = new.organization_id and a.address = new.organization_address) then
    raise exception 'operations.organization_address: the organization has no address %', coalesce(new.organization_address, '(none)')
      using errcode = '23503';
  elsif new.kind not in ('signup', 'login', 'pairing') and exists (
    select from bus.numbers n
    join public.organizations_addresses a on a.organization_id = new.organization_id and a.address = new.organization_address and a.service = n.service
    where n.address = new.organization_address and n.organization_id <> new.organization_id)
  then
    raise exception 'operations.organization_address: % belongs to another organization by now', new.organization_address using errcode = '42501';
  end if;
  -- A signup's code and a PIN are secrets: the row shows that there is one.
  foreach k in array '{code,pin,access_token}'::text[] loop
    if jsonb_typeof(new.input -> k) in ('string', 'number') then
      perform secrets.keep(new.organization_id, 'operations', new.id::text, k, new.input ->> k);
      new.input := jsonb_set(new.input, array[k], '"[sealed]"');
    end if;
  end loop;
  return new;
end
$$;


--
-- Name: before_update_on_approvals(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_update_on_approvals() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  before public.approvals := old;
begin
  before.state := new.state;
  before.note := new.note;
  before.decided_by := new.decided_by;
  before.decided_at := new.decided_at;
  if new is distinct from before then
    raise exception 'approvals: only state, note and decided_by can be changed' using errcode = '42501';
  end if;
  if old.state <> 'pending' and new is distinct from old then
    raise exception 'approvals.state: has been % since %', old.state, old.decided_at using errcode = '55000';
  end if;
  if new.state is distinct from old.state then
    if new.state = 'expired' and current_setting('tidings.expiring', true) is distinct from 'on' then
      raise exception 'approvals.state: can be granted or refused' using errcode = '42501';
    elsif new.state in ('granted', 'refused') and old.expires_at <= clock_timestamp() then
      raise exception 'approvals.state: the question expired at %', old.expires_at using errcode = '55000';
    elsif new.decided_by is not null
      and not exists (select from public.agents a where a.organization_id = new.organization_id and a.id = new.decided_by and not a.ai) then
      raise exception 'approvals.decided_by: organization % has no person %', new.organization_id, new.decided_by using errcode = '23503';
    end if;
    new.decided_at := clock_timestamp();
  end if;
  return new;
end
$$;


--
-- Name: FUNCTION before_update_on_approvals(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_update_on_approvals() IS 'A question is decided once, in time, and nothing else about it changes.';


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
      if new.content #>> '{file,uri}' is distinct from old.content #>> '{file,uri}' then
        perform storage.check_file(new);
      end if;
      if old.direction = 'outgoing' and old.external_id is null and old.status ? 'pending' then
        perform public.check_content(new.content, old.direction, old.service = 'whatsapp');
      end if;
    end if;
  end if;
  if new.extra is distinct from old.extra and new.extra is not null and old.extra is not null then
    new.extra := public.merge_update_jsonb(old.extra, '{}', new.extra);
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
-- Name: before_verb_on_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_verb_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if jsonb_typeof(new.status -> 'canceled') = 'string' and not old.status ? 'canceled' then
    -- Only what nobody has begun to send. A claim that runs at this moment has the task locked: it wins.
    delete from bus.tasks t
    where t.organization_id = old.organization_id and t.queue = 'dispatch' and t.key = old.conversation_id::text and t.subject = old.id::text
      and t.worker is null and t.held_since is null;
    if not found then
      raise exception 'messages.status.canceled: the message is no longer waiting to be sent' using errcode = '55000';
    end if;
  end if;
  if old.status ? 'failed' and jsonb_typeof(new.status -> 'failed') = 'null' and old.external_id is null and current_setting('tidings.replay', true) is distinct from 'on' then
    -- Sent again: a person has decided so.
    delete from bus.dead d where d.organization_id = old.organization_id and d.queue = 'dispatch' and d.subject = old.id::text;
    insert into bus.tasks (queue, organization_id, key, lane, subject, waits_for)
    select 'dispatch', old.organization_id, old.conversation_id::text, old.organization_address, old.id::text,
      case when old.service = 'whatsapp' and old.content ->> 'type' = 'file' then storage.upload_key(old.content -> 'file') end
    where not exists (
      select from bus.tasks t
      where t.organization_id = old.organization_id and t.queue = 'dispatch' and t.key = old.conversation_id::text and t.subject = old.id::text);
    perform bus.ring('dispatch');
  end if;
  return new;
end
$$;


--
-- Name: FUNCTION before_verb_on_messages(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_verb_on_messages() IS 'Writing status.canceled takes a scheduled message back (55000 when it is too late); removing status.failed sends a failed one again.';


--
-- Name: before_write_agents(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_agents() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  doubled text;
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    -- Secrets are kept by label: two of one label would share them.
    select format('%s (%s)', t ->> 'label', count(*)) into doubled
    from jsonb_array_elements(case when jsonb_typeof(new.extra -> 'tools') = 'array' then new.extra -> 'tools' else '[]' end) t
    where t ->> 'label' is not null
    group by t ->> 'label' having count(*) > 1 limit 1;
    if doubled is not null then
      raise exception 'agents.extra.tools: several tools have the label %', doubled using errcode = '23514';
    end if;
    new.extra := secrets.take(new.organization_id, 'agents', new.id::text, new.extra);
  end if;
  return new;
end
$$;


--
-- Name: before_write_bindings(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_bindings() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_copies numeric;
begin
  if not exists (select from public.agents a where a.organization_id = new.organization_id and a.id = new.agent_id and a.ai) then
    raise exception 'bindings.agent_id: organization % has no AI agent %', new.organization_id, new.agent_id using errcode = '23503';
  end if;
  if new.text_regex is not null then
    -- Back-references make matching slow beyond all bounds, and large counted repetitions the pattern itself, in every
    -- connection that uses it; everything else is linear in the text.
    if length(new.text_regex) > 500 then
      raise exception 'bindings.text_regex: has % characters; 500 are the limit', length(new.text_regex) using errcode = '23514';
    elsif new.text_regex ~ '\\[1-9]' then
      raise exception 'bindings.text_regex: back-references (\1) are not supported' using errcode = '23514';
    end if;
    select exp(sum(ln(greatest(1, n)))) into v_copies
    from (
      select greatest(nullif(r[1], '')::numeric, nullif(r[2], '')::numeric) as n
      from regexp_matches(new.text_regex, '\{([0-9]{0,9})[0-9]*,?([0-9]{0,9})[0-9]*\}', 'g') r) counted;
    if v_copies > 1000 then
      raise exception 'bindings.text_regex: the counted repetitions ({n}) multiply to more than 1000' using errcode = '23514';
    end if;
    begin
      perform 'x' ~* new.text_regex;
    exception when invalid_regular_expression then
      raise exception 'bindings.text_regex: %', sqlerrm using errcode = '23514';
    end;
  end if;
  new.updated_at := now();
  return new;
end
$$;


--
-- Name: FUNCTION before_write_bindings(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_write_bindings() IS 'Refuses rules for agents that do not exist and patterns that do not compile.';


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
    if tg_op = 'UPDATE' and new.status = 'connected' and new.extra ->> 'access_token' <> '[sealed]' then
      -- With another token it may send again.
      update bus.lanes set resume_at = null, paused_reason = null, strikes = 0, updated_at = now()
      where organization_id = new.organization_id and lane = new.address;
      delete from storage.uploads u where u.organization_id = new.organization_id and u.organization_address = new.address;
      -- Files that could not be fetched without it, while Meta still has them.
      perform bus.replay_dead('media', array(
        select d.id from bus.dead d join public.messages m on m.organization_id = d.organization_id and m.id::text = d.subject
        where d.organization_id = new.organization_id and d.queue = 'media' and m.organization_address = new.address and m."timestamp" > now() - interval '7 days'));
      perform bus.ring('dispatch');
    end if;
    new.extra := secrets.take(new.organization_id, 'organizations_addresses', new.address, new.extra);
  end if;
  if tg_op = 'UPDATE' and new.status = 'connected' and old.status <> 'connected' then
    new.extra := coalesce(new.extra, '{}') || jsonb_build_object('connected_at', now());
    delete from storage.uploads u where u.organization_id = new.organization_id and u.organization_address = new.address;
  end if;
  return new;
end
$$;


--
-- Name: before_write_templates(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.before_write_templates() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'INSERT' then
    new.category := upper(new.category);
    if new.waba_id is null then
      select a.extra ->> 'waba_id' into new.waba_id from public.organizations_addresses a
      where a.organization_id = new.organization_id and a.address = new.organization_address;
      if new.waba_id is null then
        raise exception 'templates.organization_address: % has no waba_id', new.organization_address using errcode = '23514';
      end if;
    end if;
    if new.components is null and new.status = 'submitting' then
      new.status := 'drafting';
    end if;
    return new;
  end if;
  new.category := upper(new.category);
  if current_setting('tidings.synchronising', true) is distinct from 'on' then
    if new.name <> old.name or new.language <> old.language or new.waba_id <> old.waba_id then
      raise exception 'templates: name, language and account of a template cannot be changed; insert another' using errcode = '23514';
    end if;
    if (new.components is distinct from old.components or new.category <> old.category) and new.external_id is not null and new.status = old.status then
      new.status := 'editing';
      new.error := null;
    elsif new.status = 'submitting' and old.status <> 'submitting' then
      new.error := null;
    end if;
  end if;
  if new.extra is distinct from old.extra and new.extra is not null and old.extra is not null then
    new.extra := public.merge_update_jsonb(old.extra, '{}', new.extra);
  end if;
  new.updated_at := now();
  return new;
end
$$;


--
-- Name: FUNCTION before_write_templates(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.before_write_templates() IS 'Fills in the account, and turns a change of content into an edit.';


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
-- Name: block_contact(uuid, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.block_contact(organization_id uuid, organization_address text, contact_address text) RETURNS public.operations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$ select public.operate($1, $2, 'block', jsonb_build_object('contact_address', $3)) $_$;


--
-- Name: FUNCTION block_contact(organization_id uuid, organization_address text, contact_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.block_contact(organization_id uuid, organization_address text, contact_address text) IS 'Blocks a contact for a number: it can neither write nor be written to.';


--
-- Name: cancel_message(uuid, uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.cancel_message(organization_id uuid, message_id uuid) RETURNS public.messages
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
  update public.messages m set status = jsonb_build_object('canceled', now()) where m.organization_id = $1 and m.id = $2 returning m.*
$_$;


--
-- Name: FUNCTION cancel_message(organization_id uuid, message_id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.cancel_message(organization_id uuid, message_id uuid) IS 'Takes a message back that has not been sent yet. 55000 when it has; no row when there is none.';


--
-- Name: check_content(jsonb, public.direction, boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_content(p_content jsonb, p_direction public.direction, p_sends boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
  defs constant jsonb := public.content_schema() -> '$defs';
  problem text;
begin
  if p_content is null or jsonb_typeof(p_content) <> 'object' then
    perform public.refuse_content('content', 'must be a JSON object');
  end if;
  -- A plain text, which most are, is checked without walking through the schema.
  if p_content ->> 'type' = 'text' and p_content ->> 'kind' = 'text' and p_content ->> 'version' = '1' and jsonb_typeof(p_content -> 'version') = 'string'
    and jsonb_typeof(p_content -> 'text') = 'string' and (p_content ->> 'text' <> '' or p_direction <> 'outgoing')
    and coalesce(jsonb_typeof(p_content -> 're_message_id'), 'string') = 'string' and p_content ->> 're_message_id' is distinct from ''
    and not p_content ?| '{fallback,preview_url,forwarded}' then
    return;
  end if;
  -- What is sent must be what WhatsApp takes; of what is only kept, the form.
  problem := public.schema_problem(p_content,
    defs -> case when p_direction = 'outgoing' and not p_sends then 'incoming' else p_direction::text end, 'content', defs);
  if problem is not null then
    raise exception 'messages.%', problem
      using errcode = '23514', schema = 'public', table = 'messages', constraint = 'messages_content_schema',
        hint = 'select content_schema() shows what content may be';
  end if;
end
$_$;


--
-- Name: FUNCTION check_content(p_content jsonb, p_direction public.direction, p_sends boolean); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.check_content(p_content jsonb, p_direction public.direction, p_sends boolean) IS 'Refuses (23514) content that breaks the model, or that WhatsApp would surely refuse, with a message that names the field and the limit.';


--
-- Name: check_number(uuid, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_number(organization_id uuid, organization_address text) RETURNS public.operations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$ select public.operate($1, $2, 'check') $_$;


--
-- Name: FUNCTION check_number(organization_id uuid, organization_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.check_number(organization_id uuid, organization_address text) IS 'Asks whether token, number, webhook subscription and templates work. Within seconds the row''s output says {ok, checks: [{name, ok, message}]}.';


--
-- Name: connect_number(uuid, text, jsonb, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  a public.organizations_addresses;
begin
  insert into public.organizations_addresses as x (organization_id, service, address, extra, status)
  values (p_organization, 'whatsapp', p_address, p_extra || case when p_status = 'connected' then jsonb_build_object('connected_at', now()) else '{}' end, p_status)
  on conflict (organization_id, address) do update
    set extra = excluded.extra, status = case when x.status = 'connected' then x.status else excluded.status end
  returning * into a;
  if p_status = 'connected' then
    perform public.take_home(p_organization, 'whatsapp', p_address);
  end if;
  return to_jsonb(a);
end
$$;


--
-- Name: FUNCTION connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text) IS 'Stores a number that somebody signed up, as pending or connected. Called once it is proved to be his.';


--
-- Name: content_schema(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.content_schema() RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$ select $json${
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$id": "https://tidings.dev/schema/content.json",
  "title": "Message content",
  "description": "What `messages.content` holds: a text, a file or data. Checked at insert, by direction: what WhatsApp would surely refuse is refused with the field and the limit. Properties not named here pass. Lengths are in characters.",
  "anyOf": [{ "$ref": "#/$defs/outgoing" }, { "$ref": "#/$defs/incoming" }, { "$ref": "#/$defs/internal" }],
  "$defs": {
    "envelope": {
      "title": "Every message",
      "description": "What contents of all directions have in common.",
      "type": "object",
      "required": ["version", "type", "kind"],
      "properties": {
        "version": { "description": "The version of this model.", "type": "string", "const": "1" },
        "type": { "description": "The form of the part.", "type": "string", "enum": ["text", "file", "data"] },
        "kind": {
          "description": "What it is: `text`, `reaction`, `image`, `location`, `template`… Kinds not named here pass as they are.",
          "type": "string",
          "minLength": 1
        },
        "re_message_id": {
          "description": "`external_id` of the message this one answers, reacts to, or was forwarded from.",
          "type": ["string", "null"],
          "minLength": 1,
          "examples": ["wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBI0ODVEREUwQzEzQkVBRjQ1RUUA"]
        },
        "forwarded": {
          "description": "`true`: the message was forwarded. `re_message_id`, when given, is then where it came from and not what it answers."
        },
        "task": {
          "description": "The agent's task it belongs to: `{id, status?, session_id?}`; `status`: submitted, working, completed, failed…",
          "examples": [{ "id": "0197f1c2-6d3e-7c55-9d2b-1f4c2a7b8e90" }]
        },
        "artifacts": {
          "description": "Parts a machine derived from this one: transcription, description. An update replaces the array as a whole.",
          "examples": [[{ "type": "text", "kind": "transcription", "text": "Hello, is the blue one still there?" }]]
        }
      }
    },
    "outgoing": {
      "title": "Outgoing message",
      "description": "What a client or an agent inserts to have it sent.",
      "properties": {
        "fallback": {
          "title": "Template for a closed window",
          "description": "The template sent instead of a free-form message when the 24-hour window is closed. Like `data` of kind `template`.",
          "type": ["object", "null"],
          "if": { "type": "object" },
          "then": { "$ref": "#/$defs/template" },
          "examples": [{ "name": "we_have_news", "language": { "code": "en" } }]
        }
      },
      "allOf": [
        { "$ref": "#/$defs/envelope" },
        { "if": { "properties": { "type": { "const": "text" } } }, "then": { "$ref": "#/$defs/outgoing_text" } },
        { "if": { "properties": { "type": { "const": "file" } } }, "then": { "$ref": "#/$defs/outgoing_file" } },
        { "if": { "properties": { "type": { "const": "data" } } }, "then": { "$ref": "#/$defs/outgoing_data" } }
      ]
    },
    "outgoing_text": {
      "title": "Text, reaction",
      "description": "Kind `text`, or kind `reaction`: an emoji on the message `re_message_id`.",
      "required": ["text"],
      "properties": {
        "text": {
          "description": "Markdown, of any length: longer than 4096 characters is sent as several messages. Kind `reaction`: the emoji; empty removes it.",
          "type": "string"
        },
        "preview_url": { "description": "Show a preview of the first link in the text.", "type": ["boolean", "null"], "default": false }
      },
      "if": { "properties": { "kind": { "const": "reaction" } } },
      "then": { "required": ["re_message_id"], "properties": { "re_message_id": { "type": "string", "minLength": 1 } } },
      "else": { "properties": { "text": { "minLength": 1 } } },
      "examples": [
        { "version": "1", "type": "text", "kind": "text", "text": "Your order is **on its way**: https://example.com/t/4471", "preview_url": true },
        { "version": "1", "type": "text", "kind": "reaction", "text": "👍", "re_message_id": "wamid.HBgLMTY1MDM4Nzk0MzkVAgAR" }
      ]
    },
    "outgoing_file": {
      "title": "Audio, image, video, document, sticker",
      "description": "The kind says how WhatsApp shows it. An optional caption is `text`; audio and stickers are sent without it.",
      "required": ["file"],
      "properties": {
        "file": {
          "title": "The file",
          "type": "object",
          "required": ["uri", "mime_type"],
          "properties": {
            "uri": {
              "description": "Where it is: in our storage (`internal://media/organizations/<organization>/attachments/<id>`), at a public link (`https://…`), or with Meta (the bare media id).",
              "type": "string",
              "minLength": 1,
              "pattern": "^(internal://media/|https?://|[A-Za-z0-9_-]+$)",
              "examples": ["internal://media/organizations/6f0c…/attachments/Xk3…", "https://example.com/offer.pdf", "1013859600285441"]
            },
            "mime_type": { "type": "string", "minLength": 1, "examples": ["image/jpeg", "audio/ogg; codecs=opus"] },
            "name": { "description": "File name, shown with a document.", "type": ["string", "null"] },
            "size": { "description": "Bytes; 0 where it is unknown.", "type": ["integer", "null"], "minimum": 0 },
            "voice": { "description": "`true` on kind `audio`: a voice note. Ogg with Opus, mono.", "type": ["boolean", "null"] },
            "animated": { "description": "On kind `sticker`: whether it moves.", "type": ["boolean", "null"] }
          }
        },
        "text": { "description": "Caption, Markdown. At most 1024 characters on the phone.", "type": ["string", "null"] }
      },
      "if": { "properties": { "kind": { "enum": ["image", "video", "document"] } } },
      "then": { "properties": { "text": { "maxLength": 1024, "x-markdown": true } } },
      "examples": [
        {
          "version": "1",
          "type": "file",
          "kind": "image",
          "text": "The *blue* one",
          "file": { "mime_type": "image/jpeg", "uri": "https://example.com/blue.jpg" }
        },
        {
          "version": "1",
          "type": "file",
          "kind": "audio",
          "file": { "mime_type": "audio/ogg", "uri": "internal://media/organizations/6f0c…/attachments/Xk3…", "voice": true }
        }
      ]
    },
    "outgoing_data": {
      "title": "Template, interactive, location, contacts, and what else there is",
      "description": "Sent as `{\"type\": kind, kind: data}`, texts as they are (not Markdown). Kinds not named here are sent the same way, unchecked.",
      "required": ["data"],
      "properties": {
        "data": { "description": "By kind." },
        "text": { "description": "What people and agents read in place of the data. Not sent." }
      },
      "allOf": [
        {
          "if": { "properties": { "kind": { "const": "template" } } },
          "then": {
            "title": "Template",
            "properties": {
              "data": { "$ref": "#/$defs/template" },
              "marketing": {
                "title": "Send by the Marketing Messages API",
                "description": "`true`, or an object with its options.",
                "type": ["boolean", "object", "null"],
                "properties": {
                  "product_policy": {
                    "description": "What happens when that API cannot send it.",
                    "type": ["string", "null"],
                    "examples": ["CLOUD_API_FALLBACK", "STRICT"]
                  },
                  "message_activity_sharing": { "description": "Whether Meta learns how people react to it.", "type": ["boolean", "null"] }
                }
              }
            },
            "examples": [
              {
                "version": "1",
                "type": "data",
                "kind": "template",
                "marketing": true,
                "data": {
                  "name": "spring_sale",
                  "language": { "code": "en_US" },
                  "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Ana" }] }]
                }
              }
            ]
          }
        },
        {
          "if": { "properties": { "kind": { "const": "interactive" } } },
          "then": {
            "title": "Interactive",
            "properties": { "data": { "$ref": "#/$defs/interactive" } },
            "examples": [
              {
                "version": "1",
                "type": "data",
                "kind": "interactive",
                "data": {
                  "type": "button",
                  "body": { "text": "Keep the appointment?" },
                  "action": {
                    "buttons": [
                      { "type": "reply", "reply": { "id": "keep", "title": "Keep it" } },
                      { "type": "reply", "reply": { "id": "move", "title": "Another day" } }
                    ]
                  }
                }
              }
            ]
          }
        },
        {
          "if": { "properties": { "kind": { "const": "location" } } },
          "then": { "title": "Location", "properties": { "data": { "$ref": "#/$defs/location" } } }
        },
        {
          "if": { "properties": { "kind": { "const": "contacts" } } },
          "then": {
            "title": "Contacts",
            "properties": {
              "data": { "description": "The cards, at least one.", "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/contact" } }
            }
          }
        }
      ]
    },
    "location": {
      "title": "A place",
      "type": "object",
      "required": ["latitude", "longitude"],
      "properties": {
        "latitude": { "description": "Degrees.", "type": ["number", "string"], "minLength": 1 },
        "longitude": { "description": "Degrees.", "type": ["number", "string"], "minLength": 1 },
        "name": { "description": "What it is called." },
        "address": { "description": "Where it is, in words." }
      },
      "examples": [{ "latitude": 37.4421, "longitude": -122.1615, "name": "Philz Coffee", "address": "101 Forest Ave, Palo Alto" }]
    },
    "contact": {
      "title": "A contact's card",
      "type": "object",
      "required": ["name"],
      "properties": {
        "name": {
          "description": "`formatted_name` and at least one of `first_name`, `last_name`, `middle_name`, `prefix`, `suffix`.",
          "type": "object",
          "required": ["formatted_name"],
          "minProperties": 2,
          "properties": { "formatted_name": { "description": "The name as it is shown.", "type": "string", "minLength": 1 } }
        },
        "phones": { "description": "`[{phone, type?, wa_id?}]`; with `wa_id` the card offers a chat, without it an invitation." },
        "emails": { "description": "`[{email, type?}]`" },
        "urls": { "description": "`[{url, type?}]`" },
        "addresses": { "description": "`[{street?, city?, state?, zip?, country?, country_code?, type?}]`" },
        "org": { "description": "`{company?, department?, title?}`" },
        "birthday": { "description": "`YYYY-MM-DD`" }
      },
      "examples": [
        {
          "name": { "formatted_name": "Barbara J. Johnson", "first_name": "Barbara" },
          "phones": [{ "phone": "+19175559999", "wa_id": "19175559999" }]
        }
      ]
    },
    "media_object": {
      "title": "Media in headers and templates",
      "description": "By `id` (uploaded to Meta) or `link` (public).",
      "type": "object",
      "properties": {
        "id": { "description": "Meta's media id.", "type": ["string", "number", "null"] },
        "link": { "description": "A public link.", "type": ["string", "null"] },
        "filename": { "description": "Documents only." }
      },
      "if": { "required": ["id"] },
      "else": { "required": ["link"] },
      "examples": [{ "link": "https://example.com/banner.png" }, { "id": "2762702990552401" }]
    },
    "template": {
      "title": "Template",
      "description": "An approved template and the values of its variables.",
      "type": "object",
      "required": ["name", "language"],
      "properties": {
        "name": { "description": "Small letters, digits and underscores.", "type": "string", "maxLength": 512, "pattern": "^[a-z0-9_]+$" },
        "language": {
          "type": "object",
          "required": ["code"],
          "properties": {
            "code": { "description": "One of the languages it was approved in.", "type": "string", "minLength": 1, "examples": ["en", "es_AR"] },
            "policy": { "description": "`deterministic`; may be left out." }
          }
        },
        "components": {
          "description": "One for each part of the template that has variables.",
          "type": ["array", "null"],
          "items": { "$ref": "#/$defs/template_component" }
        }
      },
      "examples": [
        {
          "name": "order_sent",
          "language": { "code": "en" },
          "components": [
            { "type": "header", "parameters": [{ "type": "image", "image": { "link": "https://example.com/parcel.jpg" } }] },
            {
              "type": "body",
              "parameters": [
                { "type": "text", "parameter_name": "first_name", "text": "Ana" },
                { "type": "text", "parameter_name": "days", "text": "2" }
              ]
            },
            { "type": "button", "sub_type": "url", "index": "0", "parameters": [{ "type": "text", "text": "4471" }] }
          ]
        },
        {
          "name": "login_code",
          "language": { "code": "en" },
          "components": [
            { "type": "body", "parameters": [{ "type": "text", "text": "481516" }] },
            { "type": "button", "sub_type": "url", "index": "0", "parameters": [{ "type": "text", "text": "481516" }] }
          ]
        }
      ]
    },
    "template_component": {
      "title": "Component of a template",
      "type": "object",
      "required": ["type"],
      "properties": {
        "type": {
          "description": "`header`, `body`, `button`, `carousel`, `limited_time_offer`, `tap_target_configuration`…, in small or capital letters.",
          "type": "string",
          "minLength": 1
        },
        "parameters": {
          "description": "The values, in order; those of named variables in any order, with `parameter_name`.",
          "type": ["array", "null"],
          "items": { "$ref": "#/$defs/template_parameter" }
        }
      },
      "if": { "properties": { "type": { "enum": ["button", "BUTTON"] } } },
      "then": {
        "title": "Button",
        "required": ["sub_type"],
        "properties": {
          "sub_type": {
            "description": "The button and its parameters: `url` [text], `quick_reply` [payload], `copy_code` [coupon_code], `flow`, `catalog`, `mpm`, `order_details` [action], `voice_call` [ttl_minutes, payload]…",
            "type": "string",
            "minLength": 1
          },
          "index": {
            "description": "Which button of the template, from 0 to 9.",
            "type": ["string", "number"],
            "pattern": "^[0-9]$",
            "minimum": 0,
            "maximum": 9
          }
        }
      },
      "else": {
        "if": { "properties": { "type": { "enum": ["carousel", "CAROUSEL"] } } },
        "then": {
          "title": "Carousel",
          "required": ["cards"],
          "properties": {
            "cards": {
              "description": "As many as the template was approved with.",
              "type": "array",
              "minItems": 1,
              "items": {
                "type": "object",
                "properties": {
                  "card_index": { "description": "From 0.", "type": ["number", "string"] },
                  "components": {
                    "description": "As those of a template.",
                    "type": ["array", "null"],
                    "items": { "$ref": "#/$defs/template_component" }
                  }
                }
              }
            }
          }
        }
      }
    },
    "template_parameter": {
      "title": "Value in a template",
      "description": "An object named like its `type` holds the value: `{\"type\": \"text\", \"text\": \"Ana\"}`.",
      "type": "object",
      "required": ["type"],
      "properties": {
        "type": {
          "description": "`text`, `image`, `video`, `document`, `location`, `product`, `currency`, `date_time`, `payload`, `coupon_code`, `action`, `limited_time_offer`, `tap_target_configuration`, `ttl_minutes`…",
          "type": "string",
          "minLength": 1
        },
        "parameter_name": { "description": "The variable's name, in templates whose variables have names." }
      },
      "if": { "properties": { "type": { "const": "text" } } },
      "then": { "required": ["text"], "properties": { "text": { "type": ["string", "number"] } } },
      "else": {
        "allOf": [
          {
            "if": { "properties": { "type": { "const": "image" } } },
            "then": { "required": ["image"], "properties": { "image": { "$ref": "#/$defs/media_object" } } }
          },
          {
            "if": { "properties": { "type": { "const": "video" } } },
            "then": { "required": ["video"], "properties": { "video": { "$ref": "#/$defs/media_object" } } }
          },
          {
            "if": { "properties": { "type": { "const": "document" } } },
            "then": { "required": ["document"], "properties": { "document": { "$ref": "#/$defs/media_object" } } }
          },
          {
            "if": { "properties": { "type": { "const": "location" } } },
            "then": { "required": ["location"], "properties": { "location": { "$ref": "#/$defs/location" } } }
          },
          {
            "if": { "properties": { "type": { "const": "payload" } } },
            "then": {
              "required": ["payload"],
              "properties": { "payload": { "description": "Comes back in `data.payload` of kind `button` when it is tapped." } }
            }
          },
          {
            "if": { "properties": { "type": { "const": "coupon_code" } } },
            "then": { "required": ["coupon_code"], "properties": { "coupon_code": { "description": "The code to copy." } } }
          },
          {
            "if": { "properties": { "type": { "const": "currency" } } },
            "then": { "required": ["currency"], "properties": { "currency": { "description": "`{fallback_value, code, amount_1000}`" } } }
          },
          {
            "if": { "properties": { "type": { "const": "date_time" } } },
            "then": { "required": ["date_time"], "properties": { "date_time": { "description": "`{fallback_value}`" } } }
          }
        ]
      },
      "examples": [
        { "type": "text", "text": "Ana" },
        { "type": "document", "document": { "id": "1013859600285441", "filename": "invoice.pdf" } },
        { "type": "currency", "currency": { "fallback_value": "$12.50", "code": "USD", "amount_1000": 12500 } },
        { "type": "payload", "payload": "order-4471-cancel" },
        { "type": "action", "action": { "flow_token": "4471", "flow_action_data": { "step": 1 } } },
        { "type": "limited_time_offer", "limited_time_offer": { "expiration_time_ms": 1798761600000 } }
      ]
    },
    "interactive": {
      "title": "Interactive message",
      "description": "The Graph API's `interactive` object. Types not named here pass unchecked.",
      "type": "object",
      "required": ["type"],
      "properties": { "type": { "description": "What the message offers.", "type": "string", "minLength": 1 } },
      "allOf": [
        { "if": { "properties": { "type": { "const": "button" } } }, "then": { "$ref": "#/$defs/interactive_button" } },
        { "if": { "properties": { "type": { "const": "list" } } }, "then": { "$ref": "#/$defs/interactive_list" } },
        { "if": { "properties": { "type": { "const": "cta_url" } } }, "then": { "$ref": "#/$defs/interactive_cta_url" } },
        { "if": { "properties": { "type": { "const": "flow" } } }, "then": { "$ref": "#/$defs/interactive_flow" } },
        { "if": { "properties": { "type": { "const": "carousel" } } }, "then": { "$ref": "#/$defs/interactive_carousel" } },
        { "if": { "properties": { "type": { "const": "product" } } }, "then": { "$ref": "#/$defs/interactive_product" } },
        { "if": { "properties": { "type": { "const": "product_list" } } }, "then": { "$ref": "#/$defs/interactive_product_list" } },
        { "if": { "properties": { "type": { "const": "catalog_message" } } }, "then": { "$ref": "#/$defs/interactive_catalog_message" } },
        {
          "if": { "properties": { "type": { "const": "location_request_message" } } },
          "then": { "$ref": "#/$defs/interactive_location_request_message" }
        },
        { "if": { "properties": { "type": { "const": "address_message" } } }, "then": { "$ref": "#/$defs/interactive_address_message" } },
        { "if": { "properties": { "type": { "const": "request_contact_info" } } }, "then": { "$ref": "#/$defs/interactive_request_contact_info" } },
        {
          "if": { "properties": { "type": { "const": "call_permission_request" } } },
          "then": { "$ref": "#/$defs/interactive_call_permission_request" }
        },
        { "if": { "properties": { "type": { "const": "voice_call" } } }, "then": { "$ref": "#/$defs/interactive_voice_call" } },
        { "if": { "properties": { "type": { "enum": ["order_details", "order_status"] } } }, "then": { "$ref": "#/$defs/interactive_order" } }
      ]
    },
    "header": {
      "title": "Header",
      "description": "Above the body: a text of at most 60 characters, or an image, a video, a document.",
      "type": ["object", "null"],
      "required": ["type"],
      "properties": { "type": { "type": "string", "minLength": 1, "examples": ["text", "image", "video", "document"] } },
      "allOf": [
        {
          "if": { "properties": { "type": { "const": "text" } } },
          "then": { "required": ["text"], "properties": { "text": { "type": "string", "maxLength": 60 } } }
        },
        {
          "if": { "properties": { "type": { "const": "image" } } },
          "then": { "required": ["image"], "properties": { "image": { "$ref": "#/$defs/media_object" } } }
        },
        {
          "if": { "properties": { "type": { "const": "video" } } },
          "then": { "required": ["video"], "properties": { "video": { "$ref": "#/$defs/media_object" } } }
        },
        {
          "if": { "properties": { "type": { "const": "document" } } },
          "then": { "required": ["document"], "properties": { "document": { "$ref": "#/$defs/media_object" } } }
        }
      ],
      "examples": [{ "type": "text", "text": "Your order" }, { "type": "image", "image": { "link": "https://example.com/banner.png" } }]
    },
    "text_header": {
      "title": "Header of text",
      "type": ["object", "null"],
      "required": ["type", "text"],
      "properties": { "type": { "const": "text" }, "text": { "type": "string", "maxLength": 60 } },
      "examples": [{ "type": "text", "text": "Your order" }]
    },
    "body": {
      "title": "Body, up to 1024 characters",
      "type": "object",
      "required": ["text"],
      "properties": { "text": { "description": "With WhatsApp's markers (`*bold*`).", "type": "string", "minLength": 1, "maxLength": 1024 } },
      "examples": [{ "text": "What shall we do?" }]
    },
    "long_body": {
      "title": "Body, up to 4096 characters",
      "type": ["object", "null"],
      "required": ["text"],
      "properties": { "text": { "description": "With WhatsApp's markers (`*bold*`).", "type": "string", "minLength": 1, "maxLength": 4096 } },
      "examples": [{ "text": "What shall we do?" }]
    },
    "footer": {
      "title": "Footer",
      "description": "Small print below the body.",
      "type": ["object", "null"],
      "properties": { "text": { "type": ["string", "null"], "maxLength": 60 } },
      "examples": [{ "text": "Answer STOP to hear no more." }]
    },
    "interactive_button": {
      "title": "Reply buttons",
      "description": "Up to three buttons. The answer comes as kind `interactive`, `button_reply`.",
      "required": ["body", "action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["buttons"],
          "properties": {
            "buttons": {
              "description": "Their titles differ.",
              "type": "array",
              "minItems": 1,
              "maxItems": 3,
              "x-unique": "reply.title",
              "items": {
                "type": "object",
                "required": ["type", "reply"],
                "properties": {
                  "type": { "const": "reply" },
                  "reply": {
                    "type": "object",
                    "required": ["id", "title"],
                    "properties": {
                      "id": { "description": "Comes back with the answer.", "type": ["string", "number"], "minLength": 1, "maxLength": 256 },
                      "title": { "type": "string", "minLength": 1, "maxLength": 20 }
                    }
                  }
                }
              }
            }
          }
        }
      },
      "examples": [
        {
          "type": "button",
          "header": { "type": "text", "text": "Tomorrow, 9:00" },
          "body": { "text": "Keep the appointment?" },
          "footer": { "text": "Lucky Shrub" },
          "action": {
            "buttons": [
              { "type": "reply", "reply": { "id": "keep", "title": "Keep it" } },
              { "type": "reply", "reply": { "id": "move", "title": "Another day" } }
            ]
          }
        }
      ]
    },
    "interactive_list": {
      "title": "List",
      "description": "A button that opens a list of up to ten rows. The answer comes as kind `interactive`, `list_reply`.",
      "required": ["body", "action"],
      "properties": {
        "header": { "$ref": "#/$defs/text_header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["button", "sections"],
          "properties": {
            "button": { "description": "Opens the list.", "type": "string", "minLength": 1, "maxLength": 20 },
            "sections": {
              "description": "Up to ten, with ten rows altogether. With more than one, each needs a title.",
              "type": "array",
              "minItems": 1,
              "maxItems": 10,
              "x-total": { "path": "rows", "max": 10 },
              "items": {
                "type": "object",
                "required": ["rows"],
                "properties": {
                  "title": { "type": ["string", "null"], "maxLength": 24 },
                  "rows": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                      "type": "object",
                      "required": ["id", "title"],
                      "properties": {
                        "id": { "description": "Comes back with the answer.", "type": ["string", "number"], "minLength": 1, "maxLength": 200 },
                        "title": { "type": "string", "minLength": 1, "maxLength": 24 },
                        "description": { "type": ["string", "null"], "maxLength": 72 }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      },
      "examples": [
        {
          "type": "list",
          "body": { "text": "How shall we ship it?" },
          "action": {
            "button": "Shipping",
            "sections": [{ "title": "Fast", "rows": [{ "id": "express", "title": "Express", "description": "Next day to 2 days" }] }]
          }
        }
      ]
    },
    "cta_url_parameters": {
      "title": "A button that opens a link",
      "type": "object",
      "required": ["display_text", "url"],
      "properties": {
        "display_text": { "description": "On the button.", "type": "string", "minLength": 1, "maxLength": 20 },
        "url": { "description": "Opens in the browser.", "type": "string", "minLength": 1 }
      },
      "examples": [{ "display_text": "See dates", "url": "https://example.com/dates" }]
    },
    "interactive_cta_url": {
      "title": "Link button",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["name", "parameters"],
          "properties": { "name": { "const": "cta_url" }, "parameters": { "$ref": "#/$defs/cta_url_parameters" } }
        }
      },
      "examples": [
        {
          "type": "cta_url",
          "body": { "text": "Tap to see the dates." },
          "action": { "name": "cta_url", "parameters": { "display_text": "See dates", "url": "https://example.com/dates" } }
        }
      ]
    },
    "interactive_flow": {
      "title": "Flow",
      "description": "Opens a WhatsApp Flow. The answer comes as kind `interactive`, `nfm_reply`.",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["name", "parameters"],
          "properties": {
            "name": { "const": "flow" },
            "parameters": {
              "description": "Names its flow by `flow_id` or `flow_name`.",
              "type": "object",
              "required": ["flow_cta"],
              "properties": {
                "flow_message_version": { "description": "`\"3\"`" },
                "flow_id": { "description": "The flow's id." },
                "flow_name": { "description": "The flow's name." },
                "flow_cta": { "description": "On the button; Meta advises at most 20 characters.", "type": "string", "minLength": 1 },
                "flow_token": { "description": "Your own mark; comes back with the answer." },
                "mode": { "description": "`published` or `draft`." },
                "flow_action": { "description": "`navigate` or `data_exchange`." },
                "flow_action_payload": { "description": "With `navigate`: `{screen, data?}`." }
              },
              "if": { "required": ["flow_id"] },
              "else": { "required": ["flow_name"] }
            }
          }
        }
      },
      "examples": [
        {
          "type": "flow",
          "body": { "text": "Book your visit." },
          "action": {
            "name": "flow",
            "parameters": {
              "flow_message_version": "3",
              "flow_id": "1828442997756651",
              "flow_cta": "Book",
              "flow_token": "4471",
              "flow_action": "navigate",
              "flow_action_payload": { "screen": "DATE" }
            }
          }
        }
      ]
    },
    "interactive_carousel": {
      "title": "Carousel",
      "description": "Two to ten cards, all of one sort. No header and no footer.",
      "required": ["body", "action"],
      "properties": {
        "body": { "$ref": "#/$defs/body" },
        "action": {
          "type": "object",
          "required": ["cards"],
          "properties": { "cards": { "type": "array", "minItems": 2, "maxItems": 10, "items": { "$ref": "#/$defs/carousel_card" } } }
        }
      },
      "examples": [
        {
          "type": "carousel",
          "body": { "text": "New today" },
          "action": {
            "cards": [
              {
                "card_index": 0,
                "type": "cta_url",
                "header": { "type": "image", "image": { "link": "https://example.com/0.jpg" } },
                "body": { "text": "Blue" },
                "action": { "name": "cta_url", "parameters": { "display_text": "Buy", "url": "https://example.com/0" } }
              },
              {
                "card_index": 1,
                "type": "cta_url",
                "header": { "type": "image", "image": { "link": "https://example.com/1.jpg" } },
                "body": { "text": "Green" },
                "action": { "name": "cta_url", "parameters": { "display_text": "Buy", "url": "https://example.com/1" } }
              }
            ]
          }
        }
      ]
    },
    "carousel_card": {
      "title": "Card of a carousel",
      "type": "object",
      "required": ["card_index", "action"],
      "properties": {
        "card_index": { "description": "Its place, from 0.", "type": ["number", "string"] },
        "type": {
          "description": "`cta_url`: picture, text and a link or quick replies. `product`: an article of the catalog.",
          "type": "string",
          "minLength": 1
        },
        "body": { "type": ["object", "null"], "properties": { "text": { "type": ["string", "null"], "maxLength": 160 } } },
        "action": { "type": "object" }
      },
      "allOf": [
        {
          "if": { "required": ["type"], "properties": { "type": { "const": "cta_url" } } },
          "then": {
            "required": ["header"],
            "properties": {
              "header": {
                "description": "The same type on every card.",
                "type": "object",
                "required": ["type"],
                "properties": { "type": { "enum": ["image", "video"] } },
                "if": { "properties": { "type": { "const": "image" } } },
                "then": { "required": ["image"], "properties": { "image": { "$ref": "#/$defs/media_object" } } },
                "else": { "required": ["video"], "properties": { "video": { "$ref": "#/$defs/media_object" } } }
              },
              "action": {
                "description": "`buttons` (quick replies: `[{type: \"quick_reply\", quick_reply: {id, title}}]`) or a link.",
                "if": { "required": ["buttons"] },
                "then": { "properties": { "buttons": { "type": "array", "minItems": 1 } } },
                "else": {
                  "required": ["name", "parameters"],
                  "properties": { "name": { "const": "cta_url" }, "parameters": { "$ref": "#/$defs/cta_url_parameters" } }
                }
              }
            }
          }
        },
        {
          "if": { "required": ["type"], "properties": { "type": { "const": "product" } } },
          "then": {
            "properties": {
              "action": {
                "required": ["product_retailer_id"],
                "properties": {
                  "product_retailer_id": { "description": "The article." },
                  "catalog_id": { "description": "Its catalog, the same on every card." }
                }
              }
            }
          }
        }
      ]
    },
    "interactive_product": {
      "title": "One product",
      "required": ["action"],
      "properties": {
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["catalog_id", "product_retailer_id"],
          "properties": { "catalog_id": { "description": "The catalog." }, "product_retailer_id": { "description": "The article in it." } }
        }
      },
      "examples": [
        { "type": "product", "body": { "text": "This one?" }, "action": { "catalog_id": "194836987003835", "product_retailer_id": "di9ozbzfi4" } }
      ]
    },
    "interactive_product_list": {
      "title": "Several products",
      "description": "Up to thirty products in up to ten sections. Meta wants a header of text and a body.",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["catalog_id", "sections"],
          "properties": {
            "catalog_id": { "description": "The catalog." },
            "sections": {
              "type": "array",
              "minItems": 1,
              "maxItems": 10,
              "x-total": { "path": "product_items", "max": 30 },
              "items": {
                "type": "object",
                "required": ["product_items"],
                "properties": {
                  "title": { "description": "Of the section." },
                  "product_items": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                      "type": "object",
                      "required": ["product_retailer_id"],
                      "properties": { "product_retailer_id": { "description": "The article." } }
                    }
                  }
                }
              }
            }
          }
        }
      },
      "examples": [
        {
          "type": "product_list",
          "header": { "type": "text", "text": "Plants" },
          "body": { "text": "For the shade:" },
          "action": {
            "catalog_id": "146265584024623",
            "sections": [{ "title": "Ferns", "product_items": [{ "product_retailer_id": "2lc20305pt" }] }]
          }
        }
      ]
    },
    "interactive_catalog_message": {
      "title": "The whole catalog",
      "description": "No header.",
      "required": ["action"],
      "properties": {
        "body": { "$ref": "#/$defs/body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["name"],
          "properties": {
            "name": { "const": "catalog_message" },
            "parameters": { "description": "`{thumbnail_product_retailer_id}`: the article whose picture stands for the catalog. May be left out." }
          }
        }
      },
      "examples": [{ "type": "catalog_message", "body": { "text": "Have a look around." }, "action": { "name": "catalog_message" } }]
    },
    "interactive_location_request_message": {
      "title": "Ask for a place",
      "description": "The answer comes as kind `location`.",
      "required": ["action"],
      "properties": {
        "body": { "$ref": "#/$defs/body" },
        "action": { "type": "object", "required": ["name"], "properties": { "name": { "const": "send_location" } } }
      },
      "examples": [{ "type": "location_request_message", "body": { "text": "Where shall we pick you up?" }, "action": { "name": "send_location" } }]
    },
    "interactive_address_message": {
      "title": "Ask for an address",
      "description": "India and Singapore. The answer comes as kind `interactive`, `nfm_reply`.",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["name", "parameters"],
          "properties": {
            "name": { "const": "address_message" },
            "parameters": {
              "required": ["country"],
              "properties": {
                "country": { "description": "`IN` or `SG`." },
                "values": { "description": "What is known already, by field." },
                "saved_addresses": { "description": "`[{id, value}]`: to choose from." },
                "validation_errors": { "description": "What was wrong with the last answer, by field." }
              }
            }
          }
        }
      },
      "examples": [
        { "type": "address_message", "body": { "text": "Where to?" }, "action": { "name": "address_message", "parameters": { "country": "IN" } } }
      ]
    },
    "interactive_request_contact_info": {
      "title": "Ask for the phone number",
      "description": "For people known only by their user id. The answer comes as kind `contacts` with `origin` `contact_request`.",
      "properties": {
        "body": { "$ref": "#/$defs/long_body" },
        "action": { "description": "`{\"name\": \"request_contact_info\"}`", "type": "object" }
      },
      "examples": [{ "type": "request_contact_info", "body": { "text": "May we have your number?" }, "action": { "name": "request_contact_info" } }]
    },
    "interactive_call_permission_request": {
      "title": "Ask to be allowed to call",
      "description": "The answer comes as kind `interactive`, `call_permission_reply`.",
      "required": ["action"],
      "properties": {
        "body": { "$ref": "#/$defs/long_body" },
        "action": { "type": "object", "required": ["name"], "properties": { "name": { "const": "call_permission_request" } } }
      },
      "examples": [{ "type": "call_permission_request", "body": { "text": "May we call you?" }, "action": { "name": "call_permission_request" } }]
    },
    "interactive_voice_call": {
      "title": "Call button",
      "description": "Lets people call the business.",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": {
          "type": "object",
          "required": ["name"],
          "properties": {
            "name": { "const": "voice_call" },
            "parameters": {
              "description": "May be left out.",
              "properties": {
                "display_text": { "description": "On the button; Meta: at most 20 characters." },
                "ttl_minutes": { "description": "How long it works; Meta: 1 to 43200, 10080 by default." },
                "payload": { "description": "Your own mark; comes with the call's events. Meta: at most 512 characters." }
              }
            }
          }
        }
      },
      "examples": [
        {
          "type": "voice_call",
          "body": { "text": "Call us." },
          "action": { "name": "voice_call", "parameters": { "display_text": "Call now", "ttl_minutes": 1440 } }
        }
      ]
    },
    "interactive_order": {
      "title": "Payments: order_details, order_status",
      "description": "India, Brazil and Singapore. `action` is passed as it is: `review_and_pay` with `order_details`, `review_order` with `order_status`.",
      "required": ["action"],
      "properties": {
        "header": { "$ref": "#/$defs/header" },
        "body": { "$ref": "#/$defs/long_body" },
        "footer": { "$ref": "#/$defs/footer" },
        "action": { "description": "`{name, parameters}`", "type": "object" }
      }
    },
    "recorded_part": {
      "title": "A part that is kept, not sent",
      "description": "Only the form is checked.",
      "allOf": [
        {
          "if": { "properties": { "type": { "const": "text" } } },
          "then": { "title": "Text", "required": ["text"], "properties": { "text": { "description": "Markdown; may be empty.", "type": "string" } } }
        },
        { "if": { "properties": { "type": { "const": "file" } } }, "then": { "$ref": "#/$defs/recorded_file" } },
        {
          "if": { "properties": { "type": { "const": "data" } } },
          "then": {
            "title": "Data",
            "required": ["data"],
            "properties": { "data": { "description": "Any JSON. Of incoming messages: see `incoming_kinds`." } }
          }
        }
      ]
    },
    "recorded_file": {
      "title": "File",
      "description": "Kinds `audio`, `image`, `video`, `document`, `sticker`; on Instagram also `file`, `media`, `story`, `ig_story`, `story_mention`, `story_reply`.",
      "required": ["file"],
      "properties": {
        "file": {
          "type": "object",
          "required": ["uri", "mime_type"],
          "properties": {
            "uri": {
              "description": "`internal://media/organizations/<organization>/attachments/<id>`; Meta's media id as long as the file has not been fetched.",
              "type": "string",
              "minLength": 1
            },
            "mime_type": { "type": "string", "minLength": 1 },
            "name": { "description": "File name, of documents." },
            "size": { "description": "Bytes; 0 where it is unknown." },
            "voice": { "description": "`true`: recorded as a voice note." },
            "animated": { "description": "`true`: a sticker that moves." }
          }
        },
        "text": { "description": "Caption, Markdown." }
      },
      "examples": [
        {
          "version": "1",
          "type": "file",
          "kind": "image",
          "text": "like this",
          "file": { "mime_type": "image/jpeg", "uri": "internal://media/organizations/6f0c…/attachments/Xk3…", "size": 48213 }
        }
      ]
    },
    "incoming": {
      "title": "Incoming message",
      "description": "What people wrote. It comes from WhatsApp or a connector; only its form is checked.",
      "properties": {
        "referral": {
          "description": "The advertisement, post or link the person came from. WhatsApp: `{source_url, source_type (ad, post), source_id, headline, body, ctwa_clid?, welcome_message?, media_type?, image_url?, video_url?, thumbnail_url?}`. Instagram: `{source, ref?, ad_id?, type?, ads_context_data?}`."
        },
        "referred_product": { "description": "The article asked about: `{catalog_id, product_retailer_id}`." }
      },
      "allOf": [{ "$ref": "#/$defs/envelope" }, { "$ref": "#/$defs/recorded_part" }],
      "examples": [
        { "version": "1", "type": "text", "kind": "text", "text": "Is the *blue* one still there?" },
        { "version": "1", "type": "text", "kind": "reaction", "text": "❤️", "re_message_id": "wamid.HBgLMTY1MDM4Nzk0MzkVAgAR" },
        {
          "version": "1",
          "type": "data",
          "kind": "interactive",
          "re_message_id": "wamid.HBgLMTY1MDM4Nzk0MzkVAgAR",
          "data": { "type": "button_reply", "button_reply": { "id": "keep", "title": "Keep it" } }
        }
      ]
    },
    "incoming_kinds": {
      "title": "Data of incoming messages, by kind",
      "description": "What to expect in `data`; never checked. Whatever else Meta sends is kept as it came.",
      "type": "object",
      "properties": {
        "interactive": {
          "description": "The answer to an interactive message: `type` names the property that holds it.",
          "type": "object",
          "properties": {
            "type": { "type": "string", "examples": ["button_reply", "list_reply", "nfm_reply", "call_permission_reply"] },
            "button_reply": { "type": "object", "properties": { "id": { "type": "string" }, "title": { "type": "string" } } },
            "list_reply": {
              "type": "object",
              "properties": { "id": { "type": "string" }, "title": { "type": "string" }, "description": { "type": "string" } }
            },
            "nfm_reply": {
              "description": "A flow or an address form.",
              "type": "object",
              "properties": {
                "name": { "type": "string", "examples": ["flow", "address_message"] },
                "body": { "type": "string" },
                "response_json": { "description": "What was filled in. JSON as a rule, not always valid.", "type": "string" },
                "response": { "description": "The same, read; missing when it is no JSON object.", "type": "object" }
              }
            },
            "call_permission_reply": {
              "type": "object",
              "properties": {
                "response": { "type": "string", "examples": ["accept", "reject"] },
                "is_permanent": { "type": "boolean" },
                "expiration_timestamp": { "type": ["integer", "string"] },
                "response_source": { "type": "string", "examples": ["user_action", "automatic"] }
              }
            }
          }
        },
        "button": {
          "description": "A tap on a template's quick reply; on Instagram a postback.",
          "type": "object",
          "properties": {
            "text": { "description": "On the button.", "type": "string" },
            "payload": { "description": "As given when it was sent.", "type": "string" }
          }
        },
        "order": {
          "description": "A cart that was sent.",
          "type": "object",
          "properties": {
            "catalog_id": { "type": "string" },
            "text": { "description": "A note with it.", "type": "string" },
            "product_items": {
              "type": "array",
              "items": {
                "type": "object",
                "properties": {
                  "product_retailer_id": { "type": "string" },
                  "quantity": { "type": ["string", "number"] },
                  "item_price": { "type": ["string", "number"] },
                  "currency": { "type": "string" }
                }
              }
            }
          }
        },
        "location": {
          "type": "object",
          "properties": {
            "latitude": { "type": "number" },
            "longitude": { "type": "number" },
            "name": { "type": "string" },
            "address": { "type": "string" },
            "url": { "type": "string" }
          }
        },
        "contacts": {
          "description": "Cards; `name` may be missing.",
          "type": "array",
          "items": {
            "type": "object",
            "properties": {
              "name": { "description": "`{formatted_name, first_name?, last_name?, middle_name?, prefix?, suffix?}`", "type": "object" },
              "phones": { "description": "`[{phone, wa_id?, type}]`", "type": "array" },
              "emails": { "type": "array" },
              "urls": { "type": "array" },
              "addresses": { "type": "array" },
              "org": { "type": "object" },
              "birthday": { "type": "string" },
              "vcard": { "type": "string" },
              "origin": { "description": "`contact_request`: the answer to a request for the number.", "type": "string" }
            }
          }
        },
        "system": {
          "description": "Something about the person changed.",
          "type": "object",
          "properties": {
            "type": { "type": "string", "examples": ["user_changed_number", "user_changed_user_id", "customer_identity_changed"] },
            "body": { "description": "In words.", "type": "string" },
            "wa_id": { "description": "The new number.", "type": "string" },
            "user_id": { "description": "The new user id.", "type": "string" },
            "previous_user_id": { "type": "string" }
          }
        },
        "request_welcome": { "description": "The chat was opened for the first time; nothing was written yet.", "type": "object" },
        "unsupported": {
          "description": "WhatsApp passes no more of it on.",
          "type": "object",
          "properties": {
            "type": { "description": "What it was; may be missing.", "type": "string", "examples": ["poll", "edit"] },
            "message": { "description": "The message as it came, when its type is not known.", "type": "object" },
            "errors": { "type": "array", "items": { "type": "object" } }
          }
        },
        "media_placeholder": { "description": "A file of the chat history that has not come yet; a file takes its place.", "type": "object" },
        "referral": {
          "description": "Instagram: someone came by a link or an advertisement and wrote nothing. Like the property `referral`.",
          "type": "object"
        },
        "share": {
          "description": "Instagram: a shared post or reel.",
          "type": "object",
          "properties": {
            "type": { "type": "string", "examples": ["ig_post", "ig_reel", "reel"] },
            "url": { "description": "Permalink.", "type": "string" },
            "title": { "type": "string" }
          }
        }
      }
    },
    "internal": {
      "title": "Internal message",
      "description": "What agents keep between the messages: tool calls and their results, notes. Never sent; only its form is checked. Kind `data` is a tool's input or result.",
      "properties": {
        "tool": {
          "description": "`{use_id, event: \"use\"}` or `{use_id, event: \"result\", is_error?}`, with `provider` (`local`, `google`, `openai`, `anthropic`), `type` (`function`, `custom`, `mcp`, `sql`, `http`, or the provider's own), `name` and, for `mcp`, `sql` and `http`, `label`."
        }
      },
      "allOf": [{ "$ref": "#/$defs/envelope" }, { "$ref": "#/$defs/recorded_part" }],
      "examples": [
        {
          "version": "1",
          "type": "data",
          "kind": "data",
          "data": { "sku": "blue-1" },
          "tool": { "use_id": "call_1", "event": "use", "provider": "local", "type": "function", "name": "stock" }
        }
      ]
    }
  }
}
$json$::jsonb $_$;


--
-- Name: FUNCTION content_schema(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.content_schema() IS 'What messages.content may be, as a JSON Schema.';


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
-- Name: approvals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.approvals (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    tool text NOT NULL,
    effect text NOT NULL,
    arguments jsonb NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    note text,
    decided_by uuid,
    expires_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT approvals_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'granted'::text, 'refused'::text, 'expired'::text])))
);


--
-- Name: TABLE approvals; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.approvals IS 'Tool calls that wait for a person. Update state to granted or refused, with a note for the agent where one helps; the run goes on.';


--
-- Name: COLUMN approvals.message_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.approvals.message_id IS 'The internal message that holds the call.';


--
-- Name: COLUMN approvals.state; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.approvals.state IS 'pending, then granted or refused by a person, or expired.';


--
-- Name: COLUMN approvals.decided_by; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.approvals.decided_by IS 'The person (agents.id), where the client says so.';


--
-- Name: decide_approval(uuid, uuid, boolean, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text DEFAULT NULL::text) RETURNS public.approvals
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
  update public.approvals a set state = case when $3 then 'granted' else 'refused' end, note = coalesce($4, a.note)
  where a.organization_id = $1 and a.id = $2 returning a.*
$_$;


--
-- Name: FUNCTION decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text) IS 'Grants or refuses a tool call that waits for a person. 55000 when it is decided or expired; no row when there is none.';


--
-- Name: disconnect_number(uuid, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.disconnect_number(p_organization uuid, p_address text) RETURNS jsonb
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update public.organizations_addresses a set status = 'disconnected', extra = '{"access_token": null, "disconnected": null, "sync": null}'
  where a.organization_id = p_organization and a.address = p_address
  returning to_jsonb(a)
$$;


--
-- Name: FUNCTION disconnect_number(p_organization uuid, p_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.disconnect_number(p_organization uuid, p_address text) IS 'Lets go of a number, its token included.';


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
-- Name: find_address(uuid, public.service, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text) RETURNS public.contacts_addresses
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  a public.contacts_addresses;
  variant text;
begin
  if p_user_id is not null then
    if p_service = 'whatsapp' then
      -- The service by name: so it is that the partial index serves.
      select * into a from public.contacts_addresses x
      where x.organization_id = p_organization and x.service = 'whatsapp' and x.extra ->> 'bsuid' = p_user_id and x.status = 'active'
      order by x.created_at limit 1;
    end if;
    if a.address is null then
      select * into a from public.contacts_addresses x
      where x.organization_id = p_organization and x.service = p_service and x.address = p_user_id and x.status = 'active';
    end if;
  end if;
  if a.address is null and p_phone is not null then
    -- One at a time: by equality the planner cannot but use the keys, whatever it thinks of the table's size.
    foreach variant in array public.phone_variants(p_phone) loop
      select * into a from public.contacts_addresses x
      where x.organization_id = p_organization and x.service = p_service and x.address = variant and x.status = 'active';
      if a.address is null and p_service = 'whatsapp' then
        select * into a from public.contacts_addresses x
        where x.organization_id = p_organization and x.service = 'whatsapp' and x.extra ->> 'phone_number' = variant and x.status = 'active'
        order by x.created_at limit 1;
      end if;
      exit when a.address is not null;
    end loop;
  end if;
  return a;
end
$$;


--
-- Name: FUNCTION find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text) IS 'The address row of a person: by the user id, else by the phone in any of its variants. Null when nobody is known.';


--
-- Name: is_last_number(uuid, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.is_last_number(p_organization uuid, p_address text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select not exists (
    select from public.organizations_addresses a
    join public.organizations_addresses o on o.service = 'whatsapp' and o.extra ->> 'waba_id' = a.extra ->> 'waba_id' and o.status = 'connected'
      and (o.organization_id, o.address) <> (a.organization_id, a.address)
    where a.organization_id = p_organization and a.address = p_address)
$$;


--
-- Name: FUNCTION is_last_number(p_organization uuid, p_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.is_last_number(p_organization uuid, p_address text) IS 'Whether nobody here has another connected number of the same business account.';


--
-- Name: mark_conversation_read(uuid, uuid, boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean DEFAULT false) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  n int;
begin
  update public.messages m set status = jsonb_build_object('read', now()) || case when $3 then jsonb_build_object('typing', now()) else '{}' end
  where m.organization_id = $1 and m.conversation_id = $2 and m.direction = 'incoming'
    and m."timestamp" > now() - interval '30 days'
    and (not m.status ? 'read' or ($3 and m.id = (
      select x.id from public.messages x where x.organization_id = $1 and x.conversation_id = $2 and x.direction = 'incoming'
      order by x."timestamp" desc, x.id desc limit 1)));
  get diagnostics n = row_count;
  return n;
end
$_$;


--
-- Name: FUNCTION mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean) IS 'Marks what came in as read, here and on the contact''s phone; with typing it also shows that an answer is being written. Returns how many messages.';


--
-- Name: merge_addresses(uuid, public.service, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  c public.conversations;
  target uuid;
begin
  for c in
    select * from public.conversations x
    where x.organization_id = p_organization and x.service = p_service and x.contact_address = p_from order by x.id for update
  loop
    target := null;
    if c.status = 'active' and c.group_address is null then
      select x.id into target from public.conversations x
      where x.organization_id = p_organization and x.service = p_service and x.organization_address = c.organization_address
        and x.contact_address = p_into and x.group_address is null and x.status = 'active' for update;
    end if;
    if target is null then
      update public.conversations set contact_address = p_into where organization_id = p_organization and id = c.id;
      update public.messages set contact_address = p_into where organization_id = p_organization and conversation_id = c.id;
      continue;
    end if;
    -- Both have been talking: one thread from now on.
    update public.messages set conversation_id = target, contact_address = p_into
    where organization_id = p_organization and conversation_id = c.id;
    update public.conversations set extra = c.extra || coalesce(extra, '{}') where organization_id = p_organization and id = target and c.extra is not null;
    update public.conversations set contact_address = p_into, status = 'merged', extra = jsonb_build_object('merged_into', target)
    where organization_id = p_organization and id = c.id;
    update bus.tasks set key = target::text
    -- What is on its way is finished under the key it was claimed by.
    where organization_id = p_organization and queue = 'dispatch' and key = c.id::text and worker is null;
    delete from bus.tasks where organization_id = p_organization and queue = 'agent' and key = c.id::text;
    if found then
      perform bus.ask_agent(p_organization, target);
    end if;
  end loop;

  perform bus.open_windows(array_agg(w.organization_id), array_agg(w.organization_address), array_agg(p_into), array_agg(w.opened_at))
  from bus.windows w where w.organization_id = p_organization and w.contact_address = p_from
    and w.organization_address in (select a.address from public.organizations_addresses a where a.organization_id = p_organization and a.service = p_service)
  having count(*) > 0;

  update public.contacts_addresses i set
    contact_id = coalesce(i.contact_id, f.contact_id),
    extra = (coalesce(f.extra, '{}') - '{phone_number,bsuid,address_type,replaced_by_address,was_bsuid,synced}'::text[]) || coalesce(i.extra, '{}')
  from public.contacts_addresses f
  where (i.organization_id, i.service, i.address) = (p_organization, p_service, p_into)
    and (f.organization_id, f.service, f.address) = (p_organization, p_service, p_from);
  update public.contacts_addresses set status = 'inactive', extra = jsonb_build_object('replaced_by_address', p_into)
  where (organization_id, service, address) = (p_organization, p_service, p_from);
end
$$;


--
-- Name: FUNCTION merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text) IS 'Two addresses turn out to be one person''s: what was filed under the first goes to the second, threads included. The first stays, inactive, and leads to the second.';


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
-- Name: messages_a_second(jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.messages_a_second(p_extra jsonb) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case
    when jsonb_typeof(p_extra -> 'messages_a_second') = 'number' and (p_extra ->> 'messages_a_second')::numeric > 0 then least(greatest((p_extra ->> 'messages_a_second')::numeric, 0.01), 10000)
    when p_extra -> 'is_on_biz_app' = 'true' or p_extra ->> 'flow_type' = 'existing_phone_number' then 20
    when p_extra #>> '{throughput,level}' = 'HIGH' then 1000
    else 80
  end
$$;


--
-- Name: FUNCTION messages_a_second(p_extra jsonb); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.messages_a_second(p_extra jsonb) IS 'What a number may send by its throughput tier (20 with the app on a phone, 80, 1000), or what extra.messages_a_second says.';


--
-- Name: one_of(jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.one_of(p_values jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case when count(*) = 1 then min(x) else string_agg(x, ', ' order by n) filter (where n < c) || ' or ' || max(x) filter (where n = c) end
  from (select e::text as x, n, count(*) over () as c from jsonb_array_elements(p_values) with ordinality r (e, n)) e
$$;


--
-- Name: operate(uuid, text, text, jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.operate(p_organization uuid, p_address text, p_kind text, p_input jsonb DEFAULT '{}'::jsonb) RETURNS public.operations
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  insert into public.operations (organization_id, organization_address, kind, input) values (p_organization, p_address, p_kind, p_input)
  returning *
$$;


--
-- Name: FUNCTION operate(p_organization uuid, p_address text, p_kind text, p_input jsonb); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.operate(p_organization uuid, p_address text, p_kind text, p_input jsonb) IS 'Asks for an operation on a number and returns its row: read it again for the outcome.';


--
-- Name: pause_agent(uuid, uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.pause_agent(organization_id uuid, conversation_id uuid) RETURNS public.conversations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
  update public.conversations c set extra = jsonb_build_object('paused', clock_timestamp()) where c.organization_id = $1 and c.id = $2 returning c.*
$_$;


--
-- Name: FUNCTION pause_agent(organization_id uuid, conversation_id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.pause_agent(organization_id uuid, conversation_id uuid) IS 'A person takes over: the agent is silent in this conversation for the organization''s pause_hours, or until resume_agent.';


--
-- Name: phone_variants(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.phone_variants(p_phone text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $_$
  select array[p_phone] || case
    -- Brazil: mobile numbers got a ninth digit; WhatsApp knows many without it. Landlines (2 to 5) have only the one form.
    when p_phone ~ '^55[1-9][0-9]9[6-9][0-9]{7}$' then array[left(p_phone, 4) || substr(p_phone, 6)]
    when p_phone ~ '^55[1-9][0-9][6-9][0-9]{7}$' then array[left(p_phone, 4) || '9' || substr(p_phone, 5)]
    -- Mexico: the 1 after the country code was abolished in 2019.
    when p_phone ~ '^521[0-9]{10}$' then array['52' || substr(p_phone, 4)]
    when p_phone ~ '^52[0-9]{10}$' then array['521' || substr(p_phone, 3)]
    -- Argentina: a 9 marks mobile numbers from abroad.
    when p_phone ~ '^549[0-9]{10}$' then array['54' || substr(p_phone, 4)]
    when p_phone ~ '^54[0-9]{10}$' then array['549' || substr(p_phone, 3)]
    else '{}'
  end
$_$;


--
-- Name: FUNCTION phone_variants(p_phone text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.phone_variants(p_phone text) IS 'The ways in which WhatsApp and people write one phone number: itself first, then the variant of Brazil, Mexico and Argentina where there is one.';


--
-- Name: refresh_number(uuid, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refresh_number(organization_id uuid, organization_address text) RETURNS public.operations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$ select public.operate($1, $2, 'refresh') $_$;


--
-- Name: FUNCTION refresh_number(organization_id uuid, organization_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.refresh_number(organization_id uuid, organization_address text) IS 'Asks Meta for the number''s profile, settings, quality, throughput and limits; they go to organizations_addresses.extra.';


--
-- Name: refresh_numbers(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refresh_numbers() RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  -- Once a day for each number, a few at a time.
  select public.operate(a.organization_id, a.address, 'refresh')
  from public.organizations_addresses a
  where a.service = 'whatsapp' and a.status = 'connected'
    and coalesce(bus.as_time(a.extra ->> 'refreshed_at'), a.created_at) < now() - interval '1 day'
    and not exists (
      select from public.operations o
      where o.organization_id = a.organization_id and o.organization_address = a.address and o.kind = 'refresh' and o.created_at > now() - interval '1 day')
  limit 20;
  -- Instagram's tokens are renewed ten days before they end.
  select public.operate(a.organization_id, a.address, 'login_refresh')
  from public.organizations_addresses a
  where a.service = 'instagram' and a.status = 'connected' and bus.as_time(a.extra ->> 'token_expires_at') < now() + interval '10 days'
    and not exists (
      select from public.operations o
      where o.organization_id = a.organization_id and o.organization_address = a.address and o.kind = 'login_refresh' and o.created_at > now() - interval '1 day')
  limit 20
$$;


--
-- Name: FUNCTION refresh_numbers(); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.refresh_numbers() IS 'Renews tokens that will end, and asks for a refresh of every connected number that has had none for a day. Called once a minute.';


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
-- Name: register_number(text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.register_number(p_address text, p_token text, p_waba text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_organization uuid;
begin
  -- Several processes may start at once.
  perform pg_advisory_xact_lock(hashtextextended('register_number', 0));
  if exists (select from public.organizations_addresses a where a.service = 'whatsapp') then
    return false;
  end if;
  select o.id into v_organization from public.organizations o order by o.created_at limit 1;
  if not found then
    insert into public.organizations (name) values ('My organization') returning id into v_organization;
  end if;
  insert into public.organizations_addresses (organization_id, service, address, extra)
  values (v_organization, 'whatsapp', p_address, jsonb_strip_nulls(jsonb_build_object('access_token', p_token, 'waba_id', p_waba)));
  perform public.operate(v_organization, p_address, 'refresh');
  return true;
end
$$;


--
-- Name: FUNCTION register_number(p_address text, p_token text, p_waba text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.register_number(p_address text, p_token text, p_waba text) IS 'Registers a number where there is none yet, in the first organization or in a new one. Returns whether it did. What serve does with WHATSAPP_PHONE_NUMBER_ID.';


--
-- Name: resume_agent(uuid, uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.resume_agent(organization_id uuid, conversation_id uuid) RETURNS public.conversations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
  update public.conversations c set extra = '{"paused": null, "handoff": null}' where c.organization_id = $1 and c.id = $2 returning c.*
$_$;


--
-- Name: FUNCTION resume_agent(organization_id uuid, conversation_id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.resume_agent(organization_id uuid, conversation_id uuid) IS 'Hands a conversation back to the agent, which answers what is still open.';


--
-- Name: retry_message(uuid, uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.retry_message(organization_id uuid, message_id uuid) RETURNS public.messages
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  m public.messages;
begin
  update public.messages x set status = '{"failed": null, "errors": null}'
  where x.organization_id = $1 and x.id = $2 and x.direction = 'outgoing' and x.external_id is null and x.status ? 'failed'
  returning x.* into m;
  if m.id is null and exists (select from public.messages x where x.organization_id = $1 and x.id = $2) then
    raise exception 'the message has not failed, or has reached the provider: only a copy of it can be sent' using errcode = '55000';
  end if;
  return m;
end
$_$;


--
-- Name: FUNCTION retry_message(organization_id uuid, message_id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.retry_message(organization_id uuid, message_id uuid) IS 'Sends a message again that failed before the provider took it on. 55000 when it has not failed so; null when there is none.';


--
-- Name: schema_problem(jsonb, jsonb, text, jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
  s jsonb := p_schema;
  kind text := jsonb_typeof(p_value);
  problem text;
  size numeric;
  k text;
  v jsonb;
  i bigint;
begin
  while s ? '$ref' loop
    s := p_defs -> substr(s ->> '$ref', 9);
  end loop;
  if s ? 'type' and not (s -> 'type') ? kind
    and not (kind = 'number' and (s -> 'type') ? 'integer' and (p_value #>> '{}')::numeric % 1 = 0) then
    return p_path || ' must be ' || public.schema_types(s -> 'type');
  end if;
  if s ? 'const' and p_value <> s -> 'const' then
    return p_path || ' must be ' || (s -> 'const')::text;
  elsif s ? 'enum' and not (s -> 'enum') @> jsonb_build_array(p_value) then
    return p_path || ' must be ' || public.one_of(s -> 'enum');
  end if;
  case kind
    when 'string' then
      if s ?| '{minLength,maxLength}' then
        -- Markdown shrinks on its way: counted without its markers, nothing is refused that would have fitted.
        size := length(case when s -> 'x-markdown' = 'true' then translate(p_value #>> '{}', '*_~#', '') else p_value #>> '{}' end);
        if length(p_value #>> '{}') < (s ->> 'minLength')::int then
          return p_path || case when p_value = '""' then ' must not be empty' else format(' has %s characters; at least %s', size, s ->> 'minLength') end;
        elsif size > (s ->> 'maxLength')::int then
          return p_path || format(' has %s characters; at most %s', size, s ->> 'maxLength');
        end if;
      end if;
      if s ? 'pattern' and p_value #>> '{}' !~ (s ->> 'pattern') then
        return p_path || ' is not of the form ' || (s ->> 'pattern');
      end if;
    when 'number' then
      if (p_value #>> '{}')::numeric < (s ->> 'minimum')::numeric then
        return p_path || ' is less than ' || (s ->> 'minimum');
      elsif (p_value #>> '{}')::numeric > (s ->> 'maximum')::numeric then
        return p_path || ' is more than ' || (s ->> 'maximum');
      end if;
    when 'object' then
      if s ? 'required' and not p_value ?& array(select jsonb_array_elements_text(s -> 'required')) then
        select x into k from jsonb_array_elements_text(s -> 'required') with ordinality r (x, n) where not p_value ? x order by n limit 1;
        return p_path || '.' || k || ' is missing';
      end if;
      if s ? 'properties' then
        for k, v in select key, value from jsonb_each(p_value) loop
          continue when not (s -> 'properties') ? k;
          problem := public.schema_problem(v, s #> array['properties', k], p_path || '.' || k, p_defs);
          if problem is not null then
            return problem;
          end if;
        end loop;
      end if;
      if s ? 'minProperties' and (select count(*) from jsonb_object_keys(p_value)) < (s ->> 'minProperties')::int then
        return p_path || format(' needs at least %s fields', s ->> 'minProperties');
      end if;
    when 'array' then
      size := jsonb_array_length(p_value);
      if size < (s ->> 'minItems')::int then
        return p_path || format(' has %s elements; at least %s', size, s ->> 'minItems');
      elsif size > (s ->> 'maxItems')::int then
        return p_path || format(' has %s elements; at most %s', size, s ->> 'maxItems');
      end if;
      if s ? 'items' then
        for v, i in select e, n - 1 from jsonb_array_elements(p_value) with ordinality x (e, n) loop
          problem := public.schema_problem(v, s -> 'items', p_path || '[' || i || ']', p_defs);
          if problem is not null then
            return problem;
          end if;
        end loop;
      end if;
      if s ? 'x-unique' then
        select x into v from jsonb_array_elements(p_value) e, lateral (select e #> string_to_array(s ->> 'x-unique', '.')) p (x)
        where x is not null group by x having count(*) > 1 limit 1;
        if found then
          return p_path || format(': %s %s stands there twice', s ->> 'x-unique', v);
        end if;
      end if;
      if s ? 'x-total' then
        select sum(jsonb_array_length(e #> string_to_array(s #>> '{x-total,path}', '.'))) into size from jsonb_array_elements(p_value) e
        where jsonb_typeof(e #> string_to_array(s #>> '{x-total,path}', '.')) = 'array';
        if size > (s #>> '{x-total,max}')::int then
          return p_path || format(' have %s %s in all; at most %s', size, s #>> '{x-total,path}', s #>> '{x-total,max}');
        end if;
      end if;
    else
  end case;
  if s ? 'if' then
    v := s -> case when public.schema_problem(p_value, s -> 'if', '', p_defs) is null then 'then' else 'else' end;
    problem := case when v is not null then public.schema_problem(p_value, v, p_path, p_defs) end;
    if problem is not null then
      return problem;
    end if;
  end if;
  if s ? 'allOf' then
    for v in select e from jsonb_array_elements(s -> 'allOf') e loop
      problem := public.schema_problem(p_value, v, p_path, p_defs);
      if problem is not null then
        return problem;
      end if;
    end loop;
  end if;
  if s ? 'anyOf' and not exists (
    select from jsonb_array_elements(s -> 'anyOf') e where public.schema_problem(p_value, e, p_path, p_defs) is null) then
    return p_path || ' is none of what it may be';
  end if;
  return null;
end
$_$;


--
-- Name: FUNCTION schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb) IS 'The first thing that is wrong with a value by a JSON Schema, naming the field and the limit; null when nothing is. Knows the keywords that content_schema uses.';


--
-- Name: schema_types(jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.schema_types(p_types jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select string_agg(case when t = any ('{object,array,integer}') then 'an ' || t when t = 'null' then t else 'a ' || t end, ' or ')
  from jsonb_array_elements_text(case when jsonb_typeof(p_types) = 'array' then p_types else jsonb_build_array(p_types) end) t
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
-- Name: sync_templates(uuid, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.sync_templates(organization_id uuid, organization_address text) RETURNS public.operations
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  o public.operations;
begin
  -- One that has not begun yet will do.
  select x.* into o from public.operations x
  join bus.tasks t on t.organization_id = x.organization_id and t.queue = 'manage' and t.key = x.organization_address and t.subject = x.id::text and t.worker is null
  where x.organization_id = $1 and x.organization_address = $2 and x.kind = 'templates' and x.finished_at is null limit 1;
  if found then
    return o;
  end if;
  return public.operate($1, $2, 'templates');
end
$_$;


--
-- Name: FUNCTION sync_templates(organization_id uuid, organization_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.sync_templates(organization_id uuid, organization_address text) IS 'Asks Meta for all templates of the number''s account.';


--
-- Name: take_home(uuid, public.service, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.take_home(p_organization uuid, p_service public.service, p_address text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- An address has one home. Whoever proved that it is his takes it along; whom it leaves is told.
  insert into public.logs (organization_id, organization_address, level, category, service, message)
  select o.organization_id, o.address, 'warning', 'signup', p_service, 'the address was connected by another organization'
  from public.organizations_addresses o
  where o.service = p_service and o.address = p_address and o.organization_id <> p_organization and o.status = 'connected';
  update public.organizations_addresses o set status = 'disconnected', extra = '{"access_token": null, "disconnected": {"by": "another organization"}}'
  where o.service = p_service and o.address = p_address and o.organization_id <> p_organization and o.status = 'connected';
  insert into bus.numbers (service, address, organization_id) values (p_service, p_address, p_organization)
  on conflict (service, address) do update set organization_id = excluded.organization_id;
end
$$;


--
-- Name: FUNCTION take_home(p_organization uuid, p_service public.service, p_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.take_home(p_organization uuid, p_service public.service, p_address text) IS 'Whoever proved last that an address is his has its traffic, and nobody else.';


--
-- Name: template_hint(uuid, text, jsonb); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.template_hint(p_organization uuid, p_address text, p_data jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  t public.templates;
  wanted int;
  given int;
begin
  select x.* into t from public.templates x
  join public.organizations_addresses a on a.organization_id = x.organization_id and a.address = p_address and a.extra ->> 'waba_id' = x.waba_id
  where x.organization_id = p_organization and x.name = p_data ->> 'name' and x.language = p_data #>> '{language,code}';
  if not found then
    return (
      select format('no template %s is known here in %s, only in %s', p_data ->> 'name', p_data #>> '{language,code}', string_agg(x.language, ', '))
      from public.templates x where x.organization_id = p_organization and x.name = p_data ->> 'name' having count(*) > 0);
  elsif t.status <> 'APPROVED' then
    return format('the template is %s%s', t.status, coalesce(': ' || t.rejected_reason, ''));
  end if;
  select count(distinct v[1]) into wanted
  from jsonb_array_elements(t.components) c, regexp_matches(c ->> 'text', '\{\{([A-Za-z0-9_]+)\}\}', 'g') v
  where upper(c ->> 'type') = 'BODY';
  select coalesce(sum(jsonb_array_length(c -> 'parameters')), 0) into given
  from jsonb_array_elements(case when jsonb_typeof(p_data -> 'components') = 'array' then p_data -> 'components' else '[]' end) c
  where upper(c ->> 'type') = 'BODY' and jsonb_typeof(c -> 'parameters') = 'array';
  if wanted <> given then
    return format('the body of the template has %s variables, the message gives %s', wanted, given);
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION template_hint(p_organization uuid, p_address text, p_data jsonb); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.template_hint(p_organization uuid, p_address text, p_data jsonb) IS 'What the synchronised definition says of a template message that Meta refused. It never keeps one from being sent: ours may be out of date.';


--
-- Name: thread_of(uuid, public.service, text, text, text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.thread_of(p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text, OUT contact_address text, OUT conversation_id uuid) RETURNS record
    LANGUAGE plpgsql
    AS $$
begin
  contact_address := p_contact;
  if p_group is null and p_contact is not null then
    -- The usual case: they have been talking, under this very address.
    select c.id into conversation_id from public.conversations c
    where c.organization_id = p_organization and c.service = p_service and c.organization_address = p_address
      and c.contact_address = p_contact and c.group_address is null and c.status = 'active';
    if found then
      return;
    end if;
  end if;
  if p_contact is not null and p_service <> 'local' then
    contact_address := public.address_of(p_organization, p_service, p_contact, p_phone, p_user_id);
  end if;
  conversation_id := public.conversation_for(p_organization, p_service, p_address, contact_address, p_group);
end
$$;


--
-- Name: FUNCTION thread_of(p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text, OUT contact_address text, OUT conversation_id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.thread_of(p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text, OUT contact_address text, OUT conversation_id uuid) IS 'Where a message belongs: the address under which its contact is filed, whichever of his addresses is given, and the active conversation.';


--
-- Name: unblock_contact(uuid, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.unblock_contact(organization_id uuid, organization_address text, contact_address text) RETURNS public.operations
    LANGUAGE sql
    SET search_path TO ''
    AS $_$ select public.operate($1, $2, 'unblock', jsonb_build_object('contact_address', $3)) $_$;


--
-- Name: FUNCTION unblock_contact(organization_id uuid, organization_address text, contact_address text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.unblock_contact(organization_id uuid, organization_address text, contact_address text) IS 'Takes block_contact back.';


--
-- Name: window_is_closed(uuid, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.window_is_closed(p_organization uuid, p_address text, p_contact text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select coalesce(
    -- A minute of margin: the send takes time as well.
    public.window_opened_at(p_organization, p_address, p_contact) < now() - interval '23 hours 59 minutes',
    -- Nothing came in as long as we have been listening. Of the time before that nobody here knows: Meta decides then,
    -- and always for numbers that are only developed with.
    (select coalesce(a.extra ->> 'environment', 'production') <> 'development' and coalesce(bus.as_time(a.extra ->> 'connected_at'), a.created_at) < now() - interval '24 hours'
     from public.organizations_addresses a where a.organization_id = p_organization and a.address = p_address))
$$;


--
-- Name: FUNCTION window_is_closed(p_organization uuid, p_address text, p_contact text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.window_is_closed(p_organization uuid, p_address text, p_contact text) IS 'Whether a free-form message to the contact would be refused (131047) for sure.';


--
-- Name: window_opened_at(uuid, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.window_opened_at(p_organization uuid, p_address text, p_contact text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
  select w.opened_at from bus.windows w
  where (w.organization_id, w.organization_address, w.contact_address) = (p_organization, p_address, p_contact)
$$;


--
-- Name: FUNCTION window_opened_at(p_organization uuid, p_address text, p_contact text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.window_opened_at(p_organization uuid, p_address text, p_contact text) IS 'When a contact wrote last to a number, as far as is known.';


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
-- Name: after_delete_on_messages(); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.after_delete_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  update storage.objects o set unused_since = now()
  from removed r
  where r.content ->> 'type' = 'file' and o.organization_id = r.organization_id and o.bucket_id = 'media'
    and o.name = storage.name_of(r.content #>> '{file,uri}') and o.unused_since is null;
  return null;
end
$$;


--
-- Name: FUNCTION after_delete_on_messages(); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.after_delete_on_messages() IS 'Files of deleted messages may have no use any more; storage.collect looks closely.';


--
-- Name: after_delete_on_objects(); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.after_delete_on_objects() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  insert into bus.tasks as t (queue, organization_id, key, subject, single)
  values ('sweep', '00000000-0000-0000-0000-000000000000', old.name, old.name, true)
  on conflict (organization_id, queue, key) where single do nothing;
  perform bus.ring('sweep');
  return null;
end
$$;


--
-- Name: FUNCTION after_delete_on_objects(); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.after_delete_on_objects() IS 'A row that goes, by whatever road, takes its file with it.';


--
-- Name: after_file_on_messages(); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.after_file_on_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  update storage.objects o set unused_since = null
  where o.organization_id = new.organization_id and o.bucket_id = 'media' and o.name = storage.name_of(new.content #>> '{file,uri}')
    and o.unused_since is not null;
  if new.direction = 'outgoing' and new.service = 'whatsapp' and new.external_id is null then
    update bus.tasks t set waits_for = storage.upload_key(new.content -> 'file')
    where t.organization_id = new.organization_id and t.queue = 'dispatch' and t.key = new.conversation_id::text and t.subject = new.id::text;
  end if;
  return null;
end
$$;


--
-- Name: check_file(public.messages); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.check_file(m public.messages) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  v_name text := storage.name_of(m.content #>> '{file,uri}');
  o storage.objects;
  most bigint;
begin
  if v_name is null then
    return;
  end if;
  if v_name not like 'organizations/' || m.organization_id || '/attachments/%' then
    perform public.refuse_content('content.file.uri', 'is not a file of this organization');
  end if;
  if m.direction <> 'outgoing' or not m.status ? 'pending' or m.service = 'local' then
    return;
  end if;
  select * into o from storage.objects x where x.organization_id = m.organization_id and x.bucket_id = 'media' and x.name = v_name for key share;
  if o.name is null or o.state <> 'ready' then
    perform public.refuse_content('content.file.uri', 'names a file that is not stored: upload it first');
  end if;
  most := storage.most_bytes(m.content ->> 'kind');
  if m.service = 'whatsapp' and o.size > most then
    perform public.refuse_content('content.file', format('has %s bytes; WhatsApp takes at most %s for kind %s', o.size, most, m.content ->> 'kind'));
  end if;
end
$$;


--
-- Name: FUNCTION check_file(m public.messages); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.check_file(m public.messages) IS 'Refuses a file of another organization, and on what is to be sent one that is missing or too large.';


--
-- Name: collect(interval); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.collect(p_age interval DEFAULT '1 day'::interval) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  o storage.objects;
  n int := 0;
begin
  for o in
    select * from storage.objects x where x.unused_since < now() - p_age order by x.unused_since limit 1000 for update skip locked
  loop
    -- Looked at after the lock: a message that refers to it from now on waits for us, and is refused.
    if exists (
      select from public.messages m
      where m.organization_id = o.organization_id and m.content ->> 'type' = 'file' and m.content #>> '{file,uri}' like 'internal://%'
        and m.content #>> '{file,uri}' = 'internal://media/' || o.name
    ) or exists (
      -- The example of a template that has yet to be submitted.
      select from public.templates t where t.organization_id = o.organization_id and strpos(t.components::text, o.name) > 0
    ) then
      update storage.objects x set unused_since = null where (x.organization_id, x.bucket_id, x.name) = (o.organization_id, o.bucket_id, o.name);
    else
      delete from storage.objects x where (x.organization_id, x.bucket_id, x.name) = (o.organization_id, o.bucket_id, o.name);
      n := n + 1;
    end if;
  end loop;
  return n;
end
$$;


--
-- Name: FUNCTION collect(p_age interval); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.collect(p_age interval) IS 'Removes files that no message has referred to for this long. Called once a minute; returns how many.';


--
-- Name: derive(uuid, text, uuid); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.derive(p_organization uuid, p_name text, p_message uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update storage.objects o set state = 'ready', unused_since = null, message_id = p_message, updated_at = now()
  where o.organization_id = p_organization and o.bucket_id = 'media' and o.name = p_name
$$;


--
-- Name: FUNCTION derive(p_organization uuid, p_name text, p_message uuid); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.derive(p_organization uuid, p_name text, p_message uuid) IS 'The bytes of a reserved file are where they belong; it was made from a message, and goes with it.';


--
-- Name: most_bytes(text); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.most_bytes(p_kind text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case p_kind when 'audio' then 16000000 when 'image' then 5000000 when 'sticker' then 500000 when 'video' then 16000000 else 100000000 end
$$;


--
-- Name: FUNCTION most_bytes(p_kind text); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.most_bytes(p_kind text) IS 'The most bytes that WhatsApp takes for a kind of file (Cloud API, media).';


--
-- Name: name_of(text); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.name_of(p_uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case when p_uri like 'internal://media/%' then substr(p_uri, 18) end
$$;


--
-- Name: FUNCTION name_of(p_uri text); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.name_of(p_uri text) IS 'The object that a content''s file.uri names; null for links and for ids of a provider.';


--
-- Name: reserve(uuid, text, bigint, text, text); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.reserve(p_organization uuid, p_name text, p_size bigint, p_mime_type text, p_file_name text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  o storage.objects;
begin
  -- A file that is being collected must be gone before one of the same name may be written.
  if exists (select from bus.tasks t where (t.organization_id, t.queue, t.key) = ('00000000-0000-0000-0000-000000000000', 'sweep', p_name)) then
    return 'wait';
  end if;
  insert into storage.objects as x (organization_id, name, size, mime_type, file_name)
  values (p_organization, p_name, p_size, p_mime_type, p_file_name)
  on conflict (organization_id, bucket_id, name) do update set
    unused_since = case when x.unused_since is null then null else now() end,
    -- Of a write that broke off nothing holds any more.
    size = case when x.state = 'writing' then excluded.size else x.size end,
    mime_type = case when x.state = 'writing' then excluded.mime_type else x.mime_type end,
    file_name = case when x.state = 'writing' then excluded.file_name else x.file_name end
  returning * into o;
  -- Asked again after the row is there: a collection that was under way has ended by now.
  if exists (select from bus.tasks t where (t.organization_id, t.queue, t.key) = ('00000000-0000-0000-0000-000000000000', 'sweep', p_name)) then
    return 'wait';
  end if;
  return case when o.state = 'ready' then 'ready' else 'write' end;
end
$$;


--
-- Name: FUNCTION reserve(p_organization uuid, p_name text, p_size bigint, p_mime_type text, p_file_name text); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.reserve(p_organization uuid, p_name text, p_size bigint, p_mime_type text, p_file_name text) IS 'Before a file is written: write (do it), ready (it is there already), wait (an older one of this name is being removed).';


--
-- Name: stored(uuid, text); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.stored(p_organization uuid, p_name text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update storage.objects set state = 'ready', updated_at = now() where organization_id = p_organization and bucket_id = 'media' and name = p_name
$$;


--
-- Name: FUNCTION stored(p_organization uuid, p_name text); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.stored(p_organization uuid, p_name text) IS 'The bytes of a reserved file are where they belong.';


--
-- Name: upload_key(jsonb); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.upload_key(p_file jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
  select case when storage.name_of(p_file ->> 'uri') is not null then md5(storage.name_of(p_file ->> 'uri') || ' ' || coalesce(p_file ->> 'mime_type', '')) end
$$;


--
-- Name: FUNCTION upload_key(p_file jsonb); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.upload_key(p_file jsonb) IS 'What an upload is of: the object, and what it is said to be, as a short key. Null where there is nothing to upload.';


--
-- Name: use_files(uuid[], text[]); Type: FUNCTION; Schema: storage; Owner: -
--

CREATE FUNCTION storage.use_files(p_organizations uuid[], p_names text[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  update storage.objects o set unused_since = null
  from unnest(p_organizations, p_names) x (organization_id, name)
  where o.organization_id = x.organization_id and o.bucket_id = 'media' and o.name = x.name and o.unused_since is not null
$$;


--
-- Name: FUNCTION use_files(p_organizations uuid[], p_names text[]); Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON FUNCTION storage.use_files(p_organizations uuid[], p_names text[]) IS 'Files that messages refer to are in use.';


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
-- Name: costs; Type: TABLE; Schema: billing; Owner: -
--

CREATE TABLE billing.costs (
    provider text NOT NULL,
    product text NOT NULL,
    effective_at timestamp with time zone DEFAULT now() NOT NULL,
    quantity numeric DEFAULT 1000000 NOT NULL,
    unit text DEFAULT 'token'::text NOT NULL,
    pricing jsonb NOT NULL,
    CONSTRAINT costs_quantity_check CHECK ((quantity > (0)::numeric))
);


--
-- Name: TABLE costs; Type: COMMENT; Schema: billing; Owner: -
--

COMMENT ON TABLE billing.costs IS 'What models cost: US dollars for so many (quantity) tokens, by kind: input, output, cache_read, cache_write, reasoning, audio_input, audio_output. The newest row that is in force counts.';


--
-- Name: COLUMN costs.provider; Type: COMMENT; Schema: billing; Owner: -
--

COMMENT ON COLUMN billing.costs.provider IS 'openai, anthropic, google, groq, or custom for any other address.';


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
-- Name: calls; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.calls (
    organization_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    effect text NOT NULL,
    here boolean NOT NULL,
    state text NOT NULL,
    approved boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT calls_state_check CHECK ((state = ANY (ARRAY['ready'::text, 'asked'::text, 'started'::text])))
);


--
-- Name: TABLE calls; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.calls IS 'Tool calls without a result yet. Deleted with it.';


--
-- Name: COLUMN calls.message_id; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.calls.message_id IS 'The internal message that holds the call.';


--
-- Name: COLUMN calls.here; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.calls.here IS 'Whether the tool works in the database: such calls are made in the transaction that stores them.';


--
-- Name: COLUMN calls.state; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.calls.state IS 'ready (to be made), asked (waits for a person), started (given to a worker: if no result comes, whether it acted is unknown).';


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
    body bytea NOT NULL,
    source text DEFAULT 'whatsapp'::text NOT NULL
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
-- Name: COLUMN journal.source; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON COLUMN bus.journal.source IS 'Which channel''s webhook it came by: whatsapp, instagram, or the name of a connector''s service.';


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
            WHEN ((t.run_at > clock_timestamp()) AND (t.queue = 'agent'::text) AND (t.waits_for IS NOT NULL)) THEN
            CASE t.waits_for
                WHEN 'media'::text THEN 'waits for a file to be fetched or read'::text
                WHEN 'approval'::text THEN 'waits for a person''s approval'::text
                ELSE 'waits for another agent''s task'::text
            END
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
-- Name: windows; Type: TABLE; Schema: bus; Owner: -
--

CREATE TABLE bus.windows (
    organization_id uuid NOT NULL,
    organization_address text NOT NULL,
    contact_address text NOT NULL,
    opened_at timestamp with time zone NOT NULL
)
WITH (fillfactor='80');


--
-- Name: TABLE windows; Type: COMMENT; Schema: bus; Owner: -
--

COMMENT ON TABLE bus.windows IS 'When a contact wrote last to a number, to within ten seconds: what the 24-hour window is judged by, at each send, without looking through the conversation.';


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
-- Name: conversations_windows; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.conversations_windows WITH (security_invoker='true') AS
 SELECT c.organization_id,
    c.id AS conversation_id,
        CASE
            WHEN (w.closes_at > now()) THEN 'open'::text
            WHEN ((w.opened_at IS NOT NULL) OR public.window_is_closed(c.organization_id, c.organization_address, c.contact_address)) THEN 'closed'::text
            ELSE 'unknown'::text
        END AS state,
    w.opened_at,
    w.closes_at
   FROM (public.conversations c
     CROSS JOIN LATERAL ( SELECT o.o AS opened_at,
            (o.o + '24:00:00'::interval) AS closes_at
           FROM public.window_opened_at(c.organization_id, c.organization_address, c.contact_address) o(o)) w)
  WHERE ((c.service = ANY (ARRAY['whatsapp'::public.service, 'instagram'::public.service])) AND (c.group_address IS NULL));


--
-- Name: VIEW conversations_windows; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.conversations_windows IS 'The 24-hour window of each conversation: open, closed (only templates get through), or unknown (nobody has written since the number was connected, less than a day ago).';


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
-- Name: numbers; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.numbers WITH (security_invoker='true') AS
 SELECT a.organization_id,
    a.service,
    a.address,
    (a.extra ->> 'phone_number'::text) AS phone_number,
    (a.extra ->> 'verified_name'::text) AS verified_name,
    COALESCE((a.extra ->> 'environment'::text), 'production'::text) AS environment,
        CASE
            WHEN ((a.status = 'connected'::text) AND (jsonb_typeof((a.extra -> 'attention'::text)) = 'object'::text) AND COALESCE((bus.as_time((a.extra #>> '{attention,until}'::text[])) > now()), true)) THEN 'needs attention'::text
            ELSE a.status
        END AS state,
        CASE
            WHEN (a.status = 'connected'::text) THEN (a.extra #>> '{attention,reason}'::text[])
            ELSE (a.extra #>> '{disconnected,by}'::text[])
        END AS reason,
    NULLIF((a.extra ->> 'default_agent_id'::text), ''::text) AS agent_id,
    (a.extra ->> 'quality_rating'::text) AS quality,
    public.messages_a_second(a.extra) AS messages_a_second,
    COALESCE((a.extra ->> 'whatsapp_business_manager_messaging_limit'::text), (a.extra ->> 'messaging_limit_tier'::text)) AS messaging_limit,
    (a.extra ->> 'name_status'::text) AS name_status,
    (a.extra -> 'health_status'::text) AS health,
    (a.extra -> 'profile'::text) AS profile,
    (a.extra -> 'sync'::text) AS sync,
    bus.as_time((a.extra ->> 'refreshed_at'::text)) AS refreshed_at,
    bus.as_time((a.extra ->> 'checked_at'::text)) AS checked_at
   FROM public.organizations_addresses a
  WHERE (a.service <> 'local'::public.service);


--
-- Name: VIEW numbers; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.numbers IS 'The connected accounts at a glance: environment, state (pending, connected, disconnected, needs attention) with its reason, agent, quality, pace, and how far the import of a phone''s history and contacts is.';


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
-- Name: templates; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.templates (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    organization_address text NOT NULL,
    waba_id text NOT NULL,
    external_id text,
    name text NOT NULL,
    language text NOT NULL,
    category text NOT NULL,
    parameter_format text,
    components jsonb,
    brief text,
    status text DEFAULT 'submitting'::text NOT NULL,
    quality text,
    rejected_reason text,
    error jsonb,
    extra jsonb,
    synced_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT templates_category_check CHECK ((category = ANY (ARRAY['MARKETING'::text, 'UTILITY'::text, 'AUTHENTICATION'::text]))),
    CONSTRAINT templates_components_array CHECK (((components IS NULL) OR (jsonb_typeof(components) = 'array'::text))),
    CONSTRAINT templates_has_content CHECK (((components IS NOT NULL) OR (brief IS NOT NULL))),
    CONSTRAINT templates_language_check CHECK ((language ~ '^[a-z]{2,3}(_[A-Za-z]{2,4})?$'::text)),
    CONSTRAINT templates_name_check CHECK (((name ~ '^[a-z0-9_]+$'::text) AND (length(name) <= 512))),
    CONSTRAINT templates_parameter_format_check CHECK ((parameter_format = ANY (ARRAY['POSITIONAL'::text, 'NAMED'::text])))
);


--
-- Name: TABLE templates; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.templates IS 'Message templates of a WhatsApp business account. Inserting a row submits it, updating category or components edits it, deleting it deletes that language at Meta; the row shows what Meta said. Synchronised from Meta.';


--
-- Name: COLUMN templates.organization_address; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.templates.organization_address IS 'A number of the account, whose token is used.';


--
-- Name: COLUMN templates.brief; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.templates.brief IS 'Instead of components: what the message is for. A model drafts the components; the row becomes a draft for a person to submit.';


--
-- Name: COLUMN templates.status; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.templates.status IS 'Meta''s, in upper case (PENDING, APPROVED, REJECTED, PAUSED …), or ours: drafting, draft, submitting, editing, failed. Set a draft to submitting to submit it.';


--
-- Name: COLUMN templates.error; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.templates.error IS 'Why the last submission, edit or draft failed: {code, title, message}.';


--
-- Name: COLUMN templates.extra; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.templates.extra IS 'What Meta told besides. Updates merge.';


--
-- Name: usage; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage (
    organization_id uuid NOT NULL,
    id uuid DEFAULT public.uuid_v7() NOT NULL,
    conversation_id uuid,
    message_id uuid,
    agent_id uuid,
    purpose text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    billable boolean DEFAULT false NOT NULL,
    input_tokens bigint DEFAULT 0 NOT NULL,
    cache_read_tokens bigint DEFAULT 0 NOT NULL,
    cache_write_tokens bigint DEFAULT 0 NOT NULL,
    audio_input_tokens bigint DEFAULT 0 NOT NULL,
    output_tokens bigint DEFAULT 0 NOT NULL,
    reasoning_tokens bigint DEFAULT 0 NOT NULL,
    audio_output_tokens bigint DEFAULT 0 NOT NULL,
    cost numeric,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT usage_purpose_check CHECK ((purpose = ANY (ARRAY['answer'::text, 'summary'::text, 'media'::text])))
);


--
-- Name: TABLE usage; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.usage IS 'Every call of a model: its tokens by kind, and what it cost by the price table. Stays when its conversation goes.';


--
-- Name: COLUMN usage.message_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.message_id IS 'The first message that the call produced (an answer, or a tool call); for media the message with the file.';


--
-- Name: COLUMN usage.billable; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.billable IS 'Whether it was made with the operator''s key rather than one of the organization''s.';


--
-- Name: COLUMN usage.input_tokens; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.input_tokens IS 'All that was read; cache_read, cache_write and audio_input are parts of it.';


--
-- Name: COLUMN usage.output_tokens; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.output_tokens IS 'All that was written; reasoning and audio_output are parts of it.';


--
-- Name: COLUMN usage.cost; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.cost IS 'In US dollars; null when billing.costs has no price for the model.';


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
-- Name: objects; Type: TABLE; Schema: storage; Owner: -
--

CREATE TABLE storage.objects (
    organization_id uuid NOT NULL,
    bucket_id text DEFAULT 'media'::text NOT NULL,
    name text NOT NULL,
    state text DEFAULT 'writing'::text NOT NULL,
    size bigint,
    mime_type text,
    file_name text,
    unused_since timestamp with time zone DEFAULT now(),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    message_id uuid,
    CONSTRAINT objects_name CHECK (((name ~~ (('organizations/'::text || organization_id) || '/attachments/%'::text)) AND (name !~ '(^|/)\.\.?(/|$)'::text))),
    CONSTRAINT objects_state_check CHECK ((state = ANY (ARRAY['writing'::text, 'ready'::text])))
);


--
-- Name: TABLE objects; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON TABLE storage.objects IS 'Stored files: organizations/<organization>/attachments/<id>, the id being the unpadded base64url SHA-256 of the bytes unless a client chose its own.';


--
-- Name: COLUMN objects.state; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON COLUMN storage.objects.state IS 'writing while the bytes are on their way, ready afterwards.';


--
-- Name: COLUMN objects.unused_since; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON COLUMN storage.objects.unused_since IS 'Since when no message refers to it. A day later it is collected.';


--
-- Name: COLUMN objects.message_id; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON COLUMN storage.objects.message_id IS 'The message that a file was derived from (its table, its text, what a tool made): the file goes with it.';


--
-- Name: uploads; Type: TABLE; Schema: storage; Owner: -
--

CREATE TABLE storage.uploads (
    organization_id uuid NOT NULL,
    organization_address text NOT NULL,
    upload_key text NOT NULL,
    media_id text,
    expires_at timestamp with time zone NOT NULL,
    error jsonb,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE uploads; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON TABLE storage.uploads IS 'Files that were given to a provider for a number, and by which id it knows them until when. A thousand recipients cost one upload.';


--
-- Name: COLUMN uploads.error; Type: COMMENT; Schema: storage; Owner: -
--

COMMENT ON COLUMN storage.uploads.error IS 'Why the upload is hopeless, in the shape of status.errors.';


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
-- Name: costs costs_pkey; Type: CONSTRAINT; Schema: billing; Owner: -
--

ALTER TABLE ONLY billing.costs
    ADD CONSTRAINT costs_pkey PRIMARY KEY (provider, product, effective_at);


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
-- Name: calls calls_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (organization_id, conversation_id, message_id);


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
-- Name: spent spent_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.spent
    ADD CONSTRAINT spent_pkey PRIMARY KEY (organization_id, day, agent_id, conversation_id);


--
-- Name: tasks tasks_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (organization_id, queue, key, due_at, id);


--
-- Name: windows windows_pkey; Type: CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.windows
    ADD CONSTRAINT windows_pkey PRIMARY KEY (organization_id, organization_address, contact_address);


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
-- Name: approvals approvals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_pkey PRIMARY KEY (organization_id, id);


--
-- Name: bindings bindings_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.bindings
    ADD CONSTRAINT bindings_pkey PRIMARY KEY (organization_id, id);


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
-- Name: operations operations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT operations_pkey PRIMARY KEY (organization_id, id);


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
-- Name: policies policies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT policies_pkey PRIMARY KEY (organization_id, id);


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
-- Name: templates templates_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (organization_id, id);


--
-- Name: usage usage_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (organization_id, id);


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
-- Name: objects objects_pkey; Type: CONSTRAINT; Schema: storage; Owner: -
--

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_pkey PRIMARY KEY (organization_id, bucket_id, name);


--
-- Name: uploads uploads_pkey; Type: CONSTRAINT; Schema: storage; Owner: -
--

ALTER TABLE ONLY storage.uploads
    ADD CONSTRAINT uploads_pkey PRIMARY KEY (organization_id, organization_address, upload_key);


--
-- Name: calls_agent; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX calls_agent ON bus.calls USING btree (organization_id, agent_id);


--
-- Name: calls_message; Type: INDEX; Schema: bus; Owner: -
--

CREATE INDEX calls_message ON bus.calls USING btree (organization_id, message_id);


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
-- Name: approvals_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX approvals_agent ON public.approvals USING btree (organization_id, agent_id);


--
-- Name: approvals_conversation; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX approvals_conversation ON public.approvals USING btree (organization_id, conversation_id);


--
-- Name: approvals_message; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX approvals_message ON public.approvals USING btree (organization_id, message_id);


--
-- Name: approvals_pending; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX approvals_pending ON public.approvals USING btree (organization_id, created_at) WHERE (state = 'pending'::text);


--
-- Name: bindings_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX bindings_agent ON public.bindings USING btree (organization_id, agent_id);


--
-- Name: bindings_position; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX bindings_position ON public.bindings USING btree (organization_id, "position", id);


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
-- Name: messages_file; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_file ON public.messages USING btree (organization_id, ((content #>> '{file,uri}'::text[]))) WHERE (((content ->> 'type'::text) = 'file'::text) AND ((content #>> '{file,uri}'::text[]) ~~ 'internal://%'::text));


--
-- Name: messages_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_newest ON public.messages USING btree (organization_id, "timestamp" DESC);


--
-- Name: onboarding_tokens_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX onboarding_tokens_id ON public.onboarding_tokens USING btree (id);


--
-- Name: operations_finished; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX operations_finished ON public.operations USING btree (finished_at) WHERE (finished_at IS NOT NULL);


--
-- Name: organizations_addresses_address; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX organizations_addresses_address ON public.organizations_addresses USING btree (address);


--
-- Name: organizations_addresses_phone_number; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX organizations_addresses_phone_number ON public.organizations_addresses USING btree (((extra ->> 'phone_number'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: organizations_addresses_waba_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX organizations_addresses_waba_id ON public.organizations_addresses USING btree (((extra ->> 'waba_id'::text))) WHERE (service = 'whatsapp'::public.service);


--
-- Name: policies_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX policies_agent ON public.policies USING btree (organization_id, agent_id) WHERE (agent_id IS NOT NULL);


--
-- Name: policies_position; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX policies_position ON public.policies USING btree (organization_id, "position", id);


--
-- Name: templates_address; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX templates_address ON public.templates USING btree (organization_id, organization_address);


--
-- Name: templates_external_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX templates_external_id ON public.templates USING btree (organization_id, external_id) WHERE (external_id IS NOT NULL);


--
-- Name: templates_name; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX templates_name ON public.templates USING btree (organization_id, waba_id, name, language);


--
-- Name: usage_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_created ON public.usage USING btree (organization_id, created_at);


--
-- Name: usage_message; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_message ON public.usage USING btree (organization_id, message_id) WHERE (message_id IS NOT NULL);


--
-- Name: api_key_owners_key; Type: INDEX; Schema: secrets; Owner: -
--

CREATE INDEX api_key_owners_key ON secrets.api_key_owners USING btree (organization_id, id);


--
-- Name: objects_message; Type: INDEX; Schema: storage; Owner: -
--

CREATE INDEX objects_message ON storage.objects USING btree (organization_id, message_id) WHERE (message_id IS NOT NULL);


--
-- Name: objects_unused; Type: INDEX; Schema: storage; Owner: -
--

CREATE INDEX objects_unused ON storage.objects USING btree (unused_since) WHERE (unused_since IS NOT NULL);


--
-- Name: uploads_expiry; Type: INDEX; Schema: storage; Owner: -
--

CREATE INDEX uploads_expiry ON storage.uploads USING btree (expires_at);


--
-- Name: journal request_intake; Type: TRIGGER; Schema: bus; Owner: -
--

CREATE TRIGGER request_intake AFTER INSERT ON bus.journal REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION bus.after_insert_on_journal();


--
-- Name: approvals apply_decision; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER apply_decision AFTER UPDATE ON public.approvals FOR EACH ROW WHEN ((new.state IS DISTINCT FROM old.state)) EXECUTE FUNCTION public.after_update_on_approvals();


--
-- Name: conversations apply_pause; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER apply_pause AFTER UPDATE ON public.conversations FOR EACH ROW WHEN (((new.extra ->> 'paused'::text) IS DISTINCT FROM (old.extra ->> 'paused'::text))) EXECUTE FUNCTION public.after_pause_on_conversations();


--
-- Name: templates before_write; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER before_write BEFORE INSERT OR UPDATE ON public.templates FOR EACH ROW EXECUTE FUNCTION public.before_write_templates();


--
-- Name: messages change_dispatch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER change_dispatch BEFORE UPDATE ON public.messages FOR EACH ROW WHEN (((old.direction = 'outgoing'::public.direction) AND (new.status IS DISTINCT FROM old.status) AND ((new.status ? 'canceled'::text) OR ((old.status ? 'failed'::text) AND (new.external_id IS NULL))))) EXECUTE FUNCTION public.before_verb_on_messages();


--
-- Name: bindings check_binding; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER check_binding BEFORE INSERT OR UPDATE ON public.bindings FOR EACH ROW EXECUTE FUNCTION public.before_write_bindings();


--
-- Name: contacts_addresses cleanup_unlinked_address_if_empty; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER cleanup_unlinked_address_if_empty AFTER UPDATE ON public.contacts_addresses FOR EACH ROW WHEN (((old.contact_id IS NOT NULL) AND (new.contact_id IS NULL) AND ((new.extra #>> '{synced,action}'::text[]) IS DISTINCT FROM 'add'::text))) EXECUTE FUNCTION public.after_unlink_on_contacts_addresses();


--
-- Name: approvals decide; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER decide BEFORE UPDATE ON public.approvals FOR EACH ROW EXECUTE FUNCTION public.before_update_on_approvals();


--
-- Name: organizations_addresses follow_status; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER follow_status AFTER UPDATE ON public.organizations_addresses FOR EACH ROW WHEN ((new.status IS DISTINCT FROM old.status)) EXECUTE FUNCTION public.after_write_organizations_addresses();


--
-- Name: organizations_addresses follow_tier; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER follow_tier AFTER INSERT OR UPDATE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION public.after_extra_on_organizations_addresses();


--
-- Name: agents forget_credentials; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_credentials AFTER DELETE ON public.agents FOR EACH ROW EXECUTE FUNCTION secrets.forget('id');


--
-- Name: operations forget_credentials; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER forget_credentials AFTER DELETE ON public.operations FOR EACH ROW EXECUTE FUNCTION secrets.forget('id');


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

CREATE TRIGGER handle_new_message BEFORE INSERT ON public.messages FOR EACH ROW WHEN ((current_setting('tidings.filed'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION public.before_insert_on_messages();


--
-- Name: organizations handle_new_organization; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER handle_new_organization AFTER INSERT ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.after_insert_on_organizations();


--
-- Name: organizations_addresses keep_directory; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER keep_directory AFTER INSERT OR DELETE ON public.organizations_addresses FOR EACH ROW EXECUTE FUNCTION public.after_write_organizations_addresses();


--
-- Name: agents keep_messages; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER keep_messages BEFORE DELETE ON public.agents FOR EACH ROW EXECUTE FUNCTION public.before_delete_on_agents();


--
-- Name: messages merge; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER merge BEFORE UPDATE ON public.messages FOR EACH ROW EXECUTE FUNCTION public.before_update_on_messages();


--
-- Name: messages release_files; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER release_files AFTER DELETE ON public.messages REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION storage.after_delete_on_messages();


--
-- Name: messages request_receipt; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_receipt AFTER UPDATE ON public.messages FOR EACH ROW WHEN (((new.direction = 'incoming'::public.direction) AND (new.service <> 'local'::public.service) AND (new.external_id IS NOT NULL) AND (new.status ? 'pending'::text) AND (new.status IS DISTINCT FROM old.status) AND (((new.status ->> 'read'::text) IS DISTINCT FROM (old.status ->> 'read'::text)) OR ((new.status ->> 'typing'::text) IS DISTINCT FROM (old.status ->> 'typing'::text))))) EXECUTE FUNCTION public.after_read_on_messages();


--
-- Name: messages request_work; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_work AFTER INSERT ON public.messages REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.after_insert_on_messages();


--
-- Name: operations request_work; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_work AFTER INSERT ON public.operations REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.after_insert_on_operations();


--
-- Name: templates request_work; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER request_work AFTER INSERT OR DELETE OR UPDATE ON public.templates FOR EACH ROW EXECUTE FUNCTION public.after_write_templates();


--
-- Name: agents seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON public.agents FOR EACH ROW EXECUTE FUNCTION public.before_write_agents();


--
-- Name: operations seal; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER seal BEFORE INSERT ON public.operations FOR EACH ROW EXECUTE FUNCTION public.before_insert_on_operations();


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
-- Name: policies set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.policies FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: quick_replies set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.quick_replies FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: contacts unlink_addresses; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER unlink_addresses BEFORE DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION public.before_delete_on_contacts();


--
-- Name: messages use_file; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER use_file AFTER UPDATE ON public.messages FOR EACH ROW WHEN ((((new.content ->> 'type'::text) = 'file'::text) AND ((new.content #>> '{file,uri}'::text[]) IS DISTINCT FROM (old.content #>> '{file,uri}'::text[])))) EXECUTE FUNCTION storage.after_file_on_messages();


--
-- Name: approvals withdraw; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER withdraw AFTER DELETE ON public.approvals FOR EACH ROW WHEN ((old.state = 'pending'::text)) EXECUTE FUNCTION public.after_delete_on_approvals();


--
-- Name: api_keys write; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER write INSTEAD OF INSERT OR DELETE OR UPDATE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.write_api_keys();


--
-- Name: objects sweep; Type: TRIGGER; Schema: storage; Owner: -
--

CREATE TRIGGER sweep AFTER DELETE ON storage.objects FOR EACH ROW EXECUTE FUNCTION storage.after_delete_on_objects();


--
-- Name: calls calls_organization_id_agent_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.calls
    ADD CONSTRAINT calls_organization_id_agent_id_fkey FOREIGN KEY (organization_id, agent_id) REFERENCES public.agents(organization_id, id) ON DELETE CASCADE;


--
-- Name: calls calls_organization_id_message_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.calls
    ADD CONSTRAINT calls_organization_id_message_id_fkey FOREIGN KEY (organization_id, message_id) REFERENCES public.messages(organization_id, id) ON DELETE CASCADE;


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
-- Name: spent spent_organization_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.spent
    ADD CONSTRAINT spent_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: windows windows_organization_id_fkey; Type: FK CONSTRAINT; Schema: bus; Owner: -
--

ALTER TABLE ONLY bus.windows
    ADD CONSTRAINT windows_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


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
-- Name: approvals approvals_organization_id_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_organization_id_agent_id_fkey FOREIGN KEY (organization_id, agent_id) REFERENCES public.agents(organization_id, id) ON DELETE CASCADE;


--
-- Name: approvals approvals_organization_id_conversation_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_organization_id_conversation_id_fkey FOREIGN KEY (organization_id, conversation_id) REFERENCES public.conversations(organization_id, id) ON DELETE CASCADE;


--
-- Name: approvals approvals_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: approvals approvals_organization_id_message_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_organization_id_message_id_fkey FOREIGN KEY (organization_id, message_id) REFERENCES public.messages(organization_id, id) ON DELETE CASCADE;


--
-- Name: bindings bindings_organization_id_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.bindings
    ADD CONSTRAINT bindings_organization_id_agent_id_fkey FOREIGN KEY (organization_id, agent_id) REFERENCES public.agents(organization_id, id) ON DELETE CASCADE;


--
-- Name: bindings bindings_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.bindings
    ADD CONSTRAINT bindings_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


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
-- Name: operations operations_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT operations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: organizations_addresses organizations_addresses_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.organizations_addresses
    ADD CONSTRAINT organizations_addresses_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: policies policies_organization_id_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT policies_organization_id_agent_id_fkey FOREIGN KEY (organization_id, agent_id) REFERENCES public.agents(organization_id, id) ON DELETE CASCADE;


--
-- Name: policies policies_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT policies_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: quick_replies quick_replies_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.quick_replies
    ADD CONSTRAINT quick_replies_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: templates templates_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: templates templates_organization_id_organization_address_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_organization_id_organization_address_fkey FOREIGN KEY (organization_id, organization_address) REFERENCES public.organizations_addresses(organization_id, address) ON DELETE CASCADE;


--
-- Name: usage usage_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage
    ADD CONSTRAINT usage_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


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
-- Name: objects objects_message; Type: FK CONSTRAINT; Schema: storage; Owner: -
--

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_message FOREIGN KEY (organization_id, message_id) REFERENCES public.messages(organization_id, id) ON DELETE CASCADE;


--
-- Name: objects objects_organization_id_fkey; Type: FK CONSTRAINT; Schema: storage; Owner: -
--

ALTER TABLE ONLY storage.objects
    ADD CONSTRAINT objects_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


--
-- Name: uploads uploads_organization_id_fkey; Type: FK CONSTRAINT; Schema: storage; Owner: -
--

ALTER TABLE ONLY storage.uploads
    ADD CONSTRAINT uploads_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;


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
-- Name: FUNCTION uuid_v7(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.uuid_v7() FROM PUBLIC;


--
-- Name: FUNCTION agent_gate(o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.agent_gate(o public.organizations, c public.conversations, a public.agents, newest public.messages, p_known boolean, p_last_words boolean) FROM PUBLIC;


--
-- Name: FUNCTION agent_history(c public.conversations); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.agent_history(c public.conversations) FROM PUBLIC;


--
-- Name: FUNCTION agent_window(c public.conversations); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.agent_window(c public.conversations) FROM PUBLIC;


--
-- Name: FUNCTION answer(c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.answer(c public.conversations, p_agent uuid, p_contents jsonb, p_direction public.direction, p_extra jsonb) FROM PUBLIC;


--
-- Name: FUNCTION answers(a public.agents, c public.conversations); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.answers(a public.agents, c public.conversations) FROM PUBLIC;


--
-- Name: FUNCTION apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.apply_change(p_organization uuid, p_address text, p_external_id text, p_change jsonb) FROM PUBLIC;


--
-- Name: FUNCTION apply_early(o bus.orphans); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.apply_early(o bus.orphans) FROM PUBLIC;


--
-- Name: FUNCTION arrival(p_address text, p_external_id text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.arrival(p_address text, p_external_id text) FROM PUBLIC;


--
-- Name: FUNCTION as_number(p_text text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.as_number(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION as_time(p_text text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.as_time(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION ask_agent(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.ask_agent(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION ask_profile(p_organization uuid, p_account text, p_contact text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.ask_profile(p_organization uuid, p_account text, p_contact text) FROM PUBLIC;


--
-- Name: FUNCTION ask_summary(c public.conversations, p_agent uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.ask_summary(c public.conversations, p_agent uuid) FROM PUBLIC;


--
-- Name: FUNCTION await_uploads(p_claimed bus.claimed[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.await_uploads(p_claimed bus.claimed[]) FROM PUBLIC;


--
-- Name: FUNCTION backoff(p_queue text, p_attempt integer); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.backoff(p_queue text, p_attempt integer) FROM PUBLIC;


--
-- Name: FUNCTION binding_matches(b public.bindings, c public.conversations, m public.messages); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.binding_matches(b public.bindings, c public.conversations, m public.messages) FROM PUBLIC;


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
-- Name: FUNCTION choose_agent(o public.organizations, c public.conversations, m public.messages); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.choose_agent(o public.organizations, c public.conversations, m public.messages) FROM PUBLIC;


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
-- Name: FUNCTION claim_manage(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_manage(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_media(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_media(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_preprocess(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_preprocess(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_receipts(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_seal(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_summarise(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_summarise(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_sweep(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_sweep(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION claim_upload(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.claim_upload(p_worker uuid, p_limit integer, p_after uuid, p_awake boolean) FROM PUBLIC;


--
-- Name: FUNCTION complete_content(p_organization uuid, p_content jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.complete_content(p_organization uuid, p_content jsonb) FROM PUBLIC;


--
-- Name: FUNCTION complete_messages(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.complete_messages(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION conversation_with(c public.conversations, p_contact text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.conversation_with(c public.conversations, p_contact text) FROM PUBLIC;


--
-- Name: FUNCTION cost(p_provider text, p_model text, u jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.cost(p_provider text, p_model text, u jsonb) FROM PUBLIC;


--
-- Name: FUNCTION digits(p_text text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.digits(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION drop_calls(c public.conversations, p_reason text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.drop_calls(c public.conversations, p_reason text) FROM PUBLIC;


--
-- Name: FUNCTION enqueue(p_queue text, p_organization uuid, p_key text, p_subject text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.enqueue(p_queue text, p_organization uuid, p_key text, p_subject text) FROM PUBLIC;


--
-- Name: FUNCTION event_types(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.event_types() FROM PUBLIC;


--
-- Name: FUNCTION expire_questions(c public.conversations); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.expire_questions(c public.conversations) FROM PUBLIC;


--
-- Name: FUNCTION fail_unknown(p_organization uuid, p_task bigint, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.fail_unknown(p_organization uuid, p_task bigint, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION fetch_media(p_organization uuid, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.fetch_media(p_organization uuid, p_message uuid) FROM PUBLIC;


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
-- Name: FUNCTION finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_intake(p_results jsonb, p_events jsonb, p_adrift jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_manage(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_manage(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_media(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_media(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_preprocess(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_preprocess(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_seal(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_seal(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_step(r bus.step, t bus.tasks, OUT again boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_step(r bus.step, t bus.tasks, OUT again boolean) FROM PUBLIC;


--
-- Name: FUNCTION finish_summarise(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_summarise(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_unsent(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_unsent(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION finish_upload(p_results jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.finish_upload(p_results jsonb) FROM PUBLIC;


--
-- Name: FUNCTION hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.hand_over(c public.conversations, p_agent uuid, p_reason text, p_note text, p_pause boolean) FROM PUBLIC;


--
-- Name: FUNCTION has_last_words(p_extra jsonb, p_newest timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.has_last_words(p_extra jsonb, p_newest timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.hold_lane(p_organization uuid, p_lane text, p_reason text, p_after double precision, p_age double precision, p_error text) FROM PUBLIC;


--
-- Name: FUNCTION hold_suspects(p_claimed bus.claimed[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.hold_suspects(p_claimed bus.claimed[]) FROM PUBLIC;


--
-- Name: FUNCTION is_paused(p_extra jsonb, p_pause interval); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.is_paused(p_extra jsonb, p_pause interval) FROM PUBLIC;


--
-- Name: FUNCTION judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text) FROM PUBLIC;


--
-- Name: FUNCTION learn(p_organization uuid, p_learned jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.learn(p_organization uuid, p_learned jsonb) FROM PUBLIC;


--
-- Name: FUNCTION limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]) FROM PUBLIC;


--
-- Name: FUNCTION lock_conversation(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.lock_conversation(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.log_message(p_organization uuid, p_message uuid, p_level public.log_level, p_category text, p_text text, p_metadata jsonb) FROM PUBLIC;


--
-- Name: FUNCTION make_call(c public.conversations, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.make_call(c public.conversations, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION mark_unknown(p_organization uuid, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.mark_unknown(p_organization uuid, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION meet(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.meet(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean) FROM PUBLIC;


--
-- Name: FUNCTION merge_all(p_old jsonb, p_new jsonb[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.merge_all(p_old jsonb, p_new jsonb[]) FROM PUBLIC;


--
-- Name: FUNCTION mime_of(p_uri text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.mime_of(p_uri text) FROM PUBLIC;


--
-- Name: FUNCTION next_expiry(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.next_expiry(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION next_look(p_queue text, p_worker uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.next_look(p_queue text, p_worker uuid) FROM PUBLIC;


--
-- Name: FUNCTION note(p_errors jsonb, p_error text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.note(p_errors jsonb, p_error text) FROM PUBLIC;


--
-- Name: FUNCTION numbers_of(p_event jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.numbers_of(p_event jsonb) FROM PUBLIC;


--
-- Name: FUNCTION open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamp with time zone[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamp with time zone[]) FROM PUBLIC;


--
-- Name: FUNCTION opens(l bus.lanes); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.opens(l bus.lanes) FROM PUBLIC;


--
-- Name: FUNCTION orphan(p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.orphan(p_organization uuid, p_address text, p_external_id text, p_status jsonb, p_change jsonb, p_extra jsonb) FROM PUBLIC;


--
-- Name: FUNCTION outdated(p_queue text, p_tasks jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.outdated(p_queue text, p_tasks jsonb) FROM PUBLIC;


--
-- Name: FUNCTION over_limit(p_limits jsonb, p_whose text, p_scope text, p_keys text[], s bus.spent); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.over_limit(p_limits jsonb, p_whose text, p_scope text, p_keys text[], s bus.spent) FROM PUBLIC;


--
-- Name: FUNCTION park(p_event jsonb, p_reason text, p_detail text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.park(p_event jsonb, p_reason text, p_detail text) FROM PUBLIC;


--
-- Name: FUNCTION pause_of(p_organization_extra jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.pause_of(p_organization_extra jsonb) FROM PUBLIC;


--
-- Name: FUNCTION poll(p_worker uuid, p_queues text[]); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.poll(p_worker uuid, p_queues text[]) FROM PUBLIC;


--
-- Name: FUNCTION preprocess(p_organization uuid, p_message uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.preprocess(p_organization uuid, p_message uuid) FROM PUBLIC;


--
-- Name: FUNCTION prune(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.prune() FROM PUBLIC;


--
-- Name: FUNCTION quiet(p_horizon text, OUT horizon text, OUT settled boolean); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.quiet(p_horizon text, OUT horizon text, OUT settled boolean) FROM PUBLIC;


--
-- Name: FUNCTION reader_of(p_kind text, p_mime_type text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.reader_of(p_kind text, p_mime_type text) FROM PUBLIC;


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
-- Name: FUNCTION resume_remote(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.resume_remote(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION resume_run(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.resume_run(p_organization uuid, p_conversation uuid) FROM PUBLIC;


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
-- Name: FUNCTION run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.run_tool(c public.conversations, p_agent uuid, p_name text, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.save_templates(p_organization uuid, p_address text, p_waba text, p_templates jsonb, p_complete_since timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, OUT message uuid, OUT refusal text); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, OUT message uuid, OUT refusal text) FROM PUBLIC;


--
-- Name: FUNCTION set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds double precision); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.set_aside(p_organization uuid, p_key text, p_id bigint, p_for text, p_seconds double precision) FROM PUBLIC;


--
-- Name: FUNCTION settle(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.settle(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION settle_calls(c public.conversations, p_agent uuid, p_newest timestamp with time zone); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.settle_calls(c public.conversations, p_agent uuid, p_newest timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.settle_unknown(p_organization uuid, p_message uuid, p_external_id text, p_status jsonb) FROM PUBLIC;


--
-- Name: FUNCTION spend(p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls integer); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.spend(p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls integer) FROM PUBLIC;


--
-- Name: FUNCTION split_message(p_organization uuid, p_message uuid, p_parts jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.split_message(p_organization uuid, p_message uuid, p_parts jsonb) FROM PUBLIC;


--
-- Name: FUNCTION status(); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.status() FROM PUBLIC;


--
-- Name: FUNCTION step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_accounts(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_accounts(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_apart(p_kind text, p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_apart(p_kind text, p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_calls(c public.conversations, p_agent uuid, p_turn jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_calls(c public.conversations, p_agent uuid, p_turn jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_changes(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_changes(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_contacts(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_contacts(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_events(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_events(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_groups(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_groups(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_logs(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_logs(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_messages(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_messages(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_numbers(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_numbers(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_progress(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_progress(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_renames(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_renames(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_result(p_organization uuid, p_message uuid, p_is_error boolean, p_result jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_statuses(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_statuses(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_strays(p_strays jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_strays(p_strays jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_sync(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_sync(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION store_templates(p_events jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.store_templates(p_events jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_attach(c public.conversations, p_agent uuid, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_attach(c public.conversations, p_agent uuid, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_contacts(c public.conversations, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_contacts(c public.conversations, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_conversation(c public.conversations, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_conversation(c public.conversations, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_pass(c public.conversations, p_agent uuid, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_pass(c public.conversations, p_agent uuid, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_remember(c public.conversations, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_remember(c public.conversations, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_send(c public.conversations, p_agent uuid, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_send(c public.conversations, p_agent uuid, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_status(c public.conversations, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_status(c public.conversations, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION tool_transfer(c public.conversations, p_agent uuid, p jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.tool_transfer(c public.conversations, p_agent uuid, p jsonb) FROM PUBLIC;


--
-- Name: FUNCTION try_learn(p_organization uuid, p_learned jsonb); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.try_learn(p_organization uuid, p_learned jsonb) FROM PUBLIC;


--
-- Name: FUNCTION waits_for_media(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.waits_for_media(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION wake(p_queue text, p_worker uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.wake(p_queue text, p_worker uuid) FROM PUBLIC;


--
-- Name: FUNCTION wake_for_media(p_organization uuid, p_conversation uuid); Type: ACL; Schema: bus; Owner: -
--

REVOKE ALL ON FUNCTION bus.wake_for_media(p_organization uuid, p_conversation uuid) FROM PUBLIC;


--
-- Name: FUNCTION address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text) FROM PUBLIC;


--
-- Name: FUNCTION after_delete_on_approvals(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_delete_on_approvals() FROM PUBLIC;


--
-- Name: FUNCTION after_delete_on_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_delete_on_organizations() FROM PUBLIC;


--
-- Name: FUNCTION after_extra_on_organizations_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_extra_on_organizations_addresses() FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_insert_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_operations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_insert_on_operations() FROM PUBLIC;


--
-- Name: FUNCTION after_insert_on_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_insert_on_organizations() FROM PUBLIC;


--
-- Name: FUNCTION after_operation(p_organization uuid, p_operation uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_operation(p_organization uuid, p_operation uuid) FROM PUBLIC;


--
-- Name: FUNCTION after_pause_on_conversations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_pause_on_conversations() FROM PUBLIC;


--
-- Name: FUNCTION after_read_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_read_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION after_template_operation(o public.operations); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_template_operation(o public.operations) FROM PUBLIC;


--
-- Name: FUNCTION after_unlink_on_contacts_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_unlink_on_contacts_addresses() FROM PUBLIC;


--
-- Name: FUNCTION after_update_on_approvals(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_update_on_approvals() FROM PUBLIC;


--
-- Name: FUNCTION after_write_organizations_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_write_organizations_addresses() FROM PUBLIC;


--
-- Name: FUNCTION after_write_templates(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.after_write_templates() FROM PUBLIC;


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
-- Name: FUNCTION before_insert_on_operations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_insert_on_operations() FROM PUBLIC;


--
-- Name: FUNCTION before_update_on_approvals(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_update_on_approvals() FROM PUBLIC;


--
-- Name: FUNCTION before_update_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_update_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION before_verb_on_messages(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_verb_on_messages() FROM PUBLIC;


--
-- Name: FUNCTION before_write_agents(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_agents() FROM PUBLIC;


--
-- Name: FUNCTION before_write_bindings(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_bindings() FROM PUBLIC;


--
-- Name: FUNCTION before_write_organizations(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_organizations() FROM PUBLIC;


--
-- Name: FUNCTION before_write_organizations_addresses(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_organizations_addresses() FROM PUBLIC;


--
-- Name: FUNCTION before_write_templates(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_templates() FROM PUBLIC;


--
-- Name: FUNCTION before_write_webhooks(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.before_write_webhooks() FROM PUBLIC;


--
-- Name: FUNCTION block_contact(organization_id uuid, organization_address text, contact_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.block_contact(organization_id uuid, organization_address text, contact_address text) FROM PUBLIC;


--
-- Name: FUNCTION cancel_message(organization_id uuid, message_id uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.cancel_message(organization_id uuid, message_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION check_content(p_content jsonb, p_direction public.direction, p_sends boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.check_content(p_content jsonb, p_direction public.direction, p_sends boolean) FROM PUBLIC;


--
-- Name: FUNCTION check_number(organization_id uuid, organization_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.check_number(organization_id uuid, organization_address text) FROM PUBLIC;


--
-- Name: FUNCTION connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text) FROM PUBLIC;


--
-- Name: FUNCTION content_schema(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.content_schema() FROM PUBLIC;


--
-- Name: FUNCTION conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.conversation_for(p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text) FROM PUBLIC;


--
-- Name: FUNCTION decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text) FROM PUBLIC;


--
-- Name: FUNCTION disconnect_number(p_organization uuid, p_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.disconnect_number(p_organization uuid, p_address text) FROM PUBLIC;


--
-- Name: FUNCTION find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text) FROM PUBLIC;


--
-- Name: FUNCTION is_last_number(p_organization uuid, p_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.is_last_number(p_organization uuid, p_address text) FROM PUBLIC;


--
-- Name: FUNCTION mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.mark_conversation_read(organization_id uuid, conversation_id uuid, typing boolean) FROM PUBLIC;


--
-- Name: FUNCTION merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text) FROM PUBLIC;


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
-- Name: FUNCTION messages_a_second(p_extra jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.messages_a_second(p_extra jsonb) FROM PUBLIC;


--
-- Name: FUNCTION one_of(p_values jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.one_of(p_values jsonb) FROM PUBLIC;


--
-- Name: FUNCTION operate(p_organization uuid, p_address text, p_kind text, p_input jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.operate(p_organization uuid, p_address text, p_kind text, p_input jsonb) FROM PUBLIC;


--
-- Name: FUNCTION pause_agent(organization_id uuid, conversation_id uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.pause_agent(organization_id uuid, conversation_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION phone_variants(p_phone text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.phone_variants(p_phone text) FROM PUBLIC;


--
-- Name: FUNCTION refresh_number(organization_id uuid, organization_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.refresh_number(organization_id uuid, organization_address text) FROM PUBLIC;


--
-- Name: FUNCTION refresh_numbers(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.refresh_numbers() FROM PUBLIC;


--
-- Name: FUNCTION refuse_content(p_field text, p_problem text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.refuse_content(p_field text, p_problem text) FROM PUBLIC;


--
-- Name: FUNCTION register_number(p_address text, p_token text, p_waba text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.register_number(p_address text, p_token text, p_waba text) FROM PUBLIC;


--
-- Name: FUNCTION resume_agent(organization_id uuid, conversation_id uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.resume_agent(organization_id uuid, conversation_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION retry_message(organization_id uuid, message_id uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.retry_message(organization_id uuid, message_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb) FROM PUBLIC;


--
-- Name: FUNCTION schema_types(p_types jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.schema_types(p_types jsonb) FROM PUBLIC;


--
-- Name: FUNCTION set_updated_at(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.set_updated_at() FROM PUBLIC;


--
-- Name: FUNCTION sync_templates(organization_id uuid, organization_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.sync_templates(organization_id uuid, organization_address text) FROM PUBLIC;


--
-- Name: FUNCTION take_home(p_organization uuid, p_service public.service, p_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.take_home(p_organization uuid, p_service public.service, p_address text) FROM PUBLIC;


--
-- Name: FUNCTION template_hint(p_organization uuid, p_address text, p_data jsonb); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.template_hint(p_organization uuid, p_address text, p_data jsonb) FROM PUBLIC;


--
-- Name: FUNCTION thread_of(p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text, OUT contact_address text, OUT conversation_id uuid); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.thread_of(p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text, OUT contact_address text, OUT conversation_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION unblock_contact(organization_id uuid, organization_address text, contact_address text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.unblock_contact(organization_id uuid, organization_address text, contact_address text) FROM PUBLIC;


--
-- Name: FUNCTION window_is_closed(p_organization uuid, p_address text, p_contact text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.window_is_closed(p_organization uuid, p_address text, p_contact text) FROM PUBLIC;


--
-- Name: FUNCTION window_opened_at(p_organization uuid, p_address text, p_contact text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.window_opened_at(p_organization uuid, p_address text, p_contact text) FROM PUBLIC;


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


