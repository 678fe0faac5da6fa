-- agents: sealing and merging of extra, and what becomes of the messages of one that is deleted.

create or replace function public.before_write_agents() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or new.extra is distinct from old.extra then
    new.extra := secrets.take(new.organization_id, 'agents', new.id::text, new.extra);
  end if;
  return new;
end
$$;

create or replace trigger seal before insert or update on public.agents
  for each row execute function public.before_write_agents();
create or replace trigger set_extra before update on public.agents
  for each row execute function public.merge_extra();
create or replace trigger forget_credentials after delete on public.agents
  for each row execute function secrets.forget('id');

create or replace function public.before_delete_on_agents() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  update public.messages set agent_id = null where organization_id = old.organization_id and agent_id = old.id;
  return old;
end
$$;
comment on function public.before_delete_on_agents() is 'Messages of a deleted agent stay, without their author.';

create or replace trigger keep_messages before delete on public.agents
  for each row execute function public.before_delete_on_agents();
