-- operations: a row asks something of Meta about a number; the loop manage does it and writes the outcome back.

create or replace function public.before_insert_on_operations() returns trigger
language plpgsql
set search_path = ''
as $$
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

create or replace trigger seal before insert on public.operations
  for each row execute function public.before_insert_on_operations();
create or replace trigger forget_credentials after delete on public.operations
  for each row execute function secrets.forget('id');

create or replace function public.after_insert_on_operations() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  -- One number's operations run one after the other.
  insert into bus.tasks (queue, organization_id, key, subject)
  select 'manage', n.organization_id, coalesce(n.organization_address, n.id::text), n.id::text from inserted n where n.state = 'pending' order by n.id;
  perform bus.ring('manage');
  return null;
end
$$;

create or replace trigger request_work after insert on public.operations
  referencing new table as inserted
  for each statement execute function public.after_insert_on_operations();

create or replace function public.operate(p_organization uuid, p_address text, p_kind text, p_input jsonb default '{}') returns public.operations
language sql
set search_path = ''
as $$
  insert into public.operations (organization_id, organization_address, kind, input) values (p_organization, p_address, p_kind, p_input)
  returning *
$$;
comment on function public.operate(uuid, text, text, jsonb) is 'Asks for an operation on a number and returns its row: read it again for the outcome.';

create or replace function public.check_number(organization_id uuid, organization_address text) returns public.operations
language sql
set search_path = ''
as $$ select public.operate($1, $2, 'check') $$;
comment on function public.check_number(uuid, text) is
  'Asks whether token, number, webhook subscription and templates work. Within seconds the row''s output says {ok, checks: [{name, ok, message}]}.';

create or replace function public.refresh_number(organization_id uuid, organization_address text) returns public.operations
language sql
set search_path = ''
as $$ select public.operate($1, $2, 'refresh') $$;
comment on function public.refresh_number(uuid, text) is 'Asks Meta for the number''s profile, settings, quality, throughput and limits; they go to organizations_addresses.extra.';

create or replace function public.sync_templates(organization_id uuid, organization_address text) returns public.operations
language plpgsql
set search_path = ''
as $$
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
$$;
comment on function public.sync_templates(uuid, text) is 'Asks Meta for all templates of the number''s account.';

create or replace function public.block_contact(organization_id uuid, organization_address text, contact_address text) returns public.operations
language sql
set search_path = ''
as $$ select public.operate($1, $2, 'block', jsonb_build_object('contact_address', $3)) $$;
comment on function public.block_contact(uuid, text, text) is 'Blocks a contact for a number: it can neither write nor be written to.';

create or replace function public.unblock_contact(organization_id uuid, organization_address text, contact_address text) returns public.operations
language sql
set search_path = ''
as $$ select public.operate($1, $2, 'unblock', jsonb_build_object('contact_address', $3)) $$;
comment on function public.unblock_contact(uuid, text, text) is 'Takes block_contact back.';

create or replace function public.refresh_numbers() returns void
language sql
set search_path = ''
as $$
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
comment on function public.refresh_numbers() is 'Renews tokens that will end, and asks for a refresh of every connected number that has had none for a day. Called once a minute.';

create or replace function public.take_home(p_organization uuid, p_service public.service, p_address text) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function public.take_home(uuid, public.service, text) is 'Whoever proved last that an address is his has its traffic, and nobody else.';

create or replace function public.connect_number(p_organization uuid, p_address text, p_extra jsonb, p_status text) returns jsonb
language plpgsql
set search_path = ''
as $$
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
comment on function public.connect_number(uuid, text, jsonb, text) is 'Stores a number that somebody signed up, as pending or connected. Called once it is proved to be his.';

create or replace function public.register_number(p_address text, p_token text, p_waba text default null) returns boolean
language plpgsql
set search_path = ''
as $$
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
comment on function public.register_number(text, text, text) is
  'Registers a number where there is none yet, in the first organization or in a new one. Returns whether it did. What serve does with WHATSAPP_PHONE_NUMBER_ID.';

create or replace function public.is_last_number(p_organization uuid, p_address text) returns boolean
language sql stable
set search_path = ''
as $$
  select not exists (
    select from public.organizations_addresses a
    join public.organizations_addresses o on o.service = 'whatsapp' and o.extra ->> 'waba_id' = a.extra ->> 'waba_id' and o.status = 'connected'
      and (o.organization_id, o.address) <> (a.organization_id, a.address)
    where a.organization_id = p_organization and a.address = p_address)
$$;
comment on function public.is_last_number(uuid, text) is 'Whether nobody here has another connected number of the same business account.';

create or replace function public.disconnect_number(p_organization uuid, p_address text) returns jsonb
language sql
set search_path = ''
as $$
  update public.organizations_addresses a set status = 'disconnected', extra = '{"access_token": null, "disconnected": null, "sync": null}'
  where a.organization_id = p_organization and a.address = p_address
  returning to_jsonb(a)
$$;
comment on function public.disconnect_number(uuid, text) is 'Lets go of a number, its token included.';

create or replace function bus.claim_manage(p_worker uuid, p_limit int, p_after uuid, p_awake boolean) returns setof bus.job
language plpgsql
set search_path = ''
as $$
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
comment on function bus.claim_manage(uuid, int, uuid, boolean) is 'Claims operations with all they need.';

create or replace function bus.step(p_organization uuid, p_operation uuid, p_step text, p_value jsonb default null) returns void
language sql
set search_path = ''
as $$
  update public.operations set steps = steps || jsonb_build_object(p_step, coalesce(p_value, '{}') || jsonb_build_object('at', clock_timestamp()))
  where organization_id = p_organization and id = p_operation
$$;
comment on function bus.step(uuid, uuid, text, jsonb) is 'Notes a step of an operation as done.';

create or replace function bus.finish_manage(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.finish_manage(jsonb) is 'Writes the outcome of operations back, and what follows from it.';

create or replace function public.after_operation(p_organization uuid, p_operation uuid) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function public.after_operation(uuid, uuid) is 'What follows from the outcome of an operation: states of numbers and contacts, a line in the log.';
