-- What webhooks tell of accounts, numbers, templates and groups: states are kept where they belong, and everything is
-- readable in logs.

create or replace function bus.store_logs(p_events jsonb) returns void
language sql
set search_path = ''
as $$
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
comment on function bus.store_logs(jsonb) is 'Lines for the logs of an organization, or of everyone who has a number of the business account.';

create or replace function bus.numbers_of(p_event jsonb) returns setof public.organizations_addresses
language sql stable
set search_path = ''
as $$
  -- The number, or the numbers of the account: of everyone who has them.
  select a.* from public.organizations_addresses a
  where a.organization_id = (p_event ->> 'organization_id')::uuid and a.address = p_event ->> 'address'
  union all
  select a.* from public.organizations_addresses a
  where p_event ->> 'organization_id' is null and a.service = 'whatsapp' and a.extra ->> 'waba_id' = p_event ->> 'waba'
    and (p_event ->> 'phone_number' is null or a.extra ->> 'phone_number' = p_event ->> 'phone_number')
$$;
comment on function bus.numbers_of(jsonb) is 'The numbers that an event is about.';

create or replace function bus.store_numbers(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_numbers(jsonb) is 'What is known of numbers: merged into extra.';

create or replace function bus.store_progress(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_progress(jsonb) is 'How far the import of a phone''s history is: organizations_addresses.extra.sync.history.';

create or replace function bus.store_accounts(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
$$;
comment on function bus.store_accounts(jsonb) is 'account_update: connection and trouble of all numbers of the account, whoever has them.';

create or replace function bus.store_templates(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_templates(jsonb) is 'Status, category, quality and components of templates, as webhooks report them.';

create or replace function bus.store_groups(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_groups(jsonb) is 'Groups are conversations: their name and what happened to them.';
