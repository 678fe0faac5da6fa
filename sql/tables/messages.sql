-- messages: what is checked and filled in before a row is stored, how updates merge, and the tasks that rows ask for.

create or replace function public.before_insert_on_messages() returns trigger
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
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
$$;
comment on function public.before_insert_on_messages() is
  'Checks the content, finds or makes the conversation, and delivers local messages on the spot.';

create or replace trigger handle_new_message before insert on public.messages
  for each row
  -- What intake stores has been checked and filed already (bus.store_messages), many rows at once.
  when (current_setting('tidings.filed', true) is distinct from 'on')
  execute function public.before_insert_on_messages();

create or replace function public.merge_status(p_old jsonb, p_new jsonb, p_direction public.direction) returns jsonb
language plpgsql immutable parallel safe
set search_path = ''
as $$
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
comment on function public.merge_status(jsonb, jsonb, public.direction) is
  'The new states added to the old: an outgoing message keeps the earliest time of a state, an incoming one (read, typing: requests) the latest; null removes.';

create or replace function public.before_update_on_messages() returns trigger
language plpgsql
set search_path = ''
as $$
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
$$;
comment on function public.before_update_on_messages() is
  'Direction never changes; content and status merge. What is no object is ignored.';

create or replace trigger merge before update on public.messages
  for each row execute function public.before_update_on_messages();

create or replace function public.after_insert_on_messages() returns trigger
language plpgsql security definer
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
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
comment on function public.after_insert_on_messages() is
  'Once per statement: tasks for dispatch and agent in the same transaction, the pause when a person takes over, receipts that came early.';

create or replace trigger request_work after insert on public.messages
  referencing new table as inserted
  for each statement execute function public.after_insert_on_messages();

create or replace function public.after_read_on_messages() returns trigger
language plpgsql security definer
set search_path = ''
as $$
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
comment on function public.after_read_on_messages() is 'Writing read or typing into an incoming row asks for a read receipt or a typing indicator.';

create or replace trigger request_receipt after update on public.messages
  for each row
  -- Nobody is told of what was imported.
  when (new.direction = 'incoming' and new.service <> 'local' and new.external_id is not null and new.status ? 'pending'
    and new.status is distinct from old.status
    and (new.status ->> 'read' is distinct from old.status ->> 'read'
      or new.status ->> 'typing' is distinct from old.status ->> 'typing'))
  execute function public.after_read_on_messages();
