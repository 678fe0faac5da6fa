-- People: which address a payload is about. One person may be known by a phone, by a business-scoped user id, or by both,
-- and a phone may be written in two ways in some countries.

create or replace function public.phone_variants(p_phone text) returns text[]
language sql immutable parallel safe
set search_path = ''
as $$
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
$$;
comment on function public.phone_variants(text) is
  'The ways in which WhatsApp and people write one phone number: itself first, then the variant of Brazil, Mexico and Argentina where there is one.';

create or replace function public.find_address(p_organization uuid, p_service public.service, p_phone text, p_user_id text)
returns public.contacts_addresses
language plpgsql stable
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
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
comment on function public.find_address(uuid, public.service, text, text) is
  'The address row of a person: by the user id, else by the phone in any of its variants. Null when nobody is known.';

create or replace function public.address_of(p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text)
returns text
language plpgsql stable
set search_path = ''
as $$
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
comment on function public.address_of(uuid, public.service, text, text, text) is
  'The address under which a person is filed, for one that a payload or a client names: itself, unless he is known by another.';

create or replace function public.merge_addresses(p_organization uuid, p_service public.service, p_from text, p_into text) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function public.merge_addresses(uuid, public.service, text, text) is
  'Two addresses turn out to be one person''s: what was filed under the first goes to the second, threads included. The first stays, inactive, and leads to the second.';

create or replace function bus.ask_agent(p_organization uuid, p_conversation uuid) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.ask_agent(uuid, uuid) is 'Asks for an answer to the newest message of a conversation.';

create or replace function bus.meet(
  p_organization uuid, p_service public.service, p_contact text, p_phone text, p_user_id text, p_extra jsonb, p_creates boolean) returns text
language plpgsql
set search_path = ''
as $$
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
comment on function bus.meet(uuid, public.service, text, text, text, jsonb, boolean) is
  'Files what a payload says of a person, linking phone and user id when they come together. Returns the address, or null for somebody unknown who is not to be introduced.';

create or replace function bus.store_contacts(p_events jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
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
comment on function bus.store_contacts(jsonb) is 'Files the people of a batch of events.';

create or replace function bus.ask_profile(p_organization uuid, p_account text, p_contact text) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.ask_profile(uuid, text, text) is 'Asks who somebody on Instagram is.';

create or replace function bus.store_renames(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_renames(jsonb) is 'A person''s number or user id has changed: he keeps his contact and his thread under the new address.';

create or replace function bus.store_sync(p_events jsonb) returns void
language plpgsql
set search_path = ''
as $$
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
comment on function bus.store_sync(jsonb) is
  'The address book of a phone: contacts added, renamed and removed. Repeating an entry changes nothing, an older one never undoes a newer.';
