-- agents: sealing and merging of extra, and what becomes of the messages of one that is deleted.

create or replace function public.before_write_agents() returns trigger
language plpgsql
set search_path = ''
as $$
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
