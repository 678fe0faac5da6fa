-- webhooks, quick_replies: sealing of the token and updated_at.

create or replace function public.before_write_webhooks() returns trigger
language plpgsql
set search_path = ''
as $$
declare
  before text := case when tg_op = 'UPDATE' then old.token end;
begin
  if new.token is distinct from before then
    new.token := secrets.take(new.organization_id, 'webhooks', new.id::text, jsonb_build_object('token', new.token)) ->> 'token';
  end if;
  new.updated_at := now();
  return new;
end
$$;

create or replace trigger seal before insert or update on public.webhooks
  for each row execute function public.before_write_webhooks();
create or replace trigger forget_credentials after delete on public.webhooks
  for each row execute function secrets.forget('id');
create or replace trigger set_updated_at before update on public.quick_replies
  for each row execute function public.set_updated_at();
