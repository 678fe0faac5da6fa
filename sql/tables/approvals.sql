-- approvals: a person decides by updating state; the decision reaches the run at once.

create or replace function public.before_update_on_approvals() returns trigger
language plpgsql
set search_path = ''
as $$
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
comment on function public.before_update_on_approvals() is 'A question is decided once, in time, and nothing else about it changes.';

create or replace trigger decide before update on public.approvals
  for each row execute function public.before_update_on_approvals();

create or replace function public.after_update_on_approvals() returns trigger
language plpgsql security definer
set search_path = ''
as $$
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
comment on function public.after_update_on_approvals() is 'A granted call is made, a refused one is told to the model; either way the run goes on.';

create or replace trigger apply_decision after update on public.approvals
  for each row when (new.state is distinct from old.state)
  execute function public.after_update_on_approvals();

create or replace function public.after_delete_on_approvals() returns trigger
language plpgsql security definer
set search_path = ''
as $$
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
comment on function public.after_delete_on_approvals() is 'A question that is deleted, by whatever road, does not keep its run waiting.';

create or replace trigger withdraw after delete on public.approvals
  for each row when (old.state = 'pending')
  execute function public.after_delete_on_approvals();

create or replace function public.decide_approval(organization_id uuid, approval_id uuid, grant_it boolean, note text default null) returns public.approvals
language sql
set search_path = ''
as $$
  update public.approvals a set state = case when $3 then 'granted' else 'refused' end, note = coalesce($4, a.note)
  where a.organization_id = $1 and a.id = $2 returning a.*
$$;
comment on function public.decide_approval(uuid, uuid, boolean, text) is 'Grants or refuses a tool call that waits for a person. 55000 when it is decided or expired; no row when there is none.';
