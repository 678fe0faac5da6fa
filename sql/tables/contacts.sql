-- contacts and their addresses.

create or replace trigger set_extra before update on public.contacts
  for each row execute function public.merge_extra();
create or replace trigger set_extra before update on public.contacts_addresses
  for each row execute function public.merge_extra();

create or replace function public.before_delete_on_contacts() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  update public.contacts_addresses set contact_id = null
  where organization_id = old.organization_id and contact_id = old.id;
  return old;
end
$$;
comment on function public.before_delete_on_contacts() is 'Deleting a contact keeps its addresses, unlinked: their conversations stay.';

create or replace trigger unlink_addresses before delete on public.contacts
  for each row execute function public.before_delete_on_contacts();

create or replace function public.after_unlink_on_contacts_addresses() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  delete from public.contacts_addresses a
  where (a.organization_id, a.service, a.address) = (new.organization_id, new.service, new.address)
    and not exists (
      select from public.conversations c
      where c.organization_id = a.organization_id and c.service = a.service and c.contact_address = a.address);
  return null;
end
$$;
comment on function public.after_unlink_on_contacts_addresses() is 'An address that somebody entered by hand and nobody wrote from goes when it is unlinked.';

create or replace trigger cleanup_unlinked_address_if_empty after update on public.contacts_addresses
  for each row
  when (old.contact_id is not null and new.contact_id is null and new.extra #>> '{synced,action}' is distinct from 'add')
  execute function public.after_unlink_on_contacts_addresses();
