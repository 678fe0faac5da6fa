-- conversations: finding or making the active one for a message.

create or replace trigger set_extra before update on public.conversations
  for each row execute function public.merge_extra();

create or replace function public.before_insert_on_conversations() returns trigger
language plpgsql
set search_path = ''
as $$
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
comment on function public.before_insert_on_conversations() is 'Makes the contact''s address where it does not exist yet, whoever is first.';

create or replace trigger handle_new_conversation before insert on public.conversations
  for each row execute function public.before_insert_on_conversations();

create or replace function public.conversation_for(
  p_organization uuid, p_service public.service, p_address text, p_contact text, p_group text)
returns uuid
language plpgsql
set search_path = ''
as $$
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
comment on function public.conversation_for(uuid, public.service, text, text, text) is
  'The active conversation of a pair (or group) within one organization, made if there is none. Safe for any number of first messages at once.';

create or replace function public.thread_of(
  p_organization uuid, p_service public.service, p_address text, p_contact text, p_phone text, p_user_id text, p_group text,
  out contact_address text, out conversation_id uuid)
language plpgsql
as $$
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
comment on function public.thread_of(uuid, public.service, text, text, text, text, text) is
  'Where a message belongs: the address under which its contact is filed, whichever of his addresses is given, and the active conversation.';
