-- Summaries: what no longer fits into the context of a long conversation is kept in a few sentences.

create or replace function bus.ask_summary(c public.conversations, p_agent uuid) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.ask_summary(public.conversations, uuid) is
  'Asks for a summary when the messages that none covers have become many (120) or long (48 kB): well before the context has no room for them.';

create or replace function bus.claim_summarise(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = ''
as $$
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
comment on function bus.claim_summarise(uuid, int, uuid, boolean) is 'Claims conversations to summarise, each with its history.';

create or replace function bus.finish_summarise(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.finish_summarise(jsonb) is 'Keeps summaries in conversations.extra.summary: {text, until}.';
