#!/usr/bin/env escript
%% A media gateway controller of Erlang/OTP's megaco application, which knows nothing of Portunus: it takes whichever
%% gateway says ServiceChange, audits it, asks its lines to report off-hook and answers with dial tone. Whoever asks for
%% something before that gets error 505.
%%
%%     controller.escript PORT
%%
%% Listens on 127.0.0.1 over UDP (text). Says what it sees, a line each, and ends at the end of its input:
%%
%%     listening
%%     restart GATEWAY          failover GATEWAY
%%     disconnected GATEWAY     audited GATEWAY LINE,LINE       asked GATEWAY
%%     notified GATEWAY LINE EVENT                              tone GATEWAY LINE
%%     forced GATEWAY
%%     trouble WHAT
-mode(compile).
-export([handle_connect/3, handle_disconnect/4, handle_syntax_error/4, handle_message_error/4,
         handle_trans_request/4, handle_trans_long_request/4, handle_trans_reply/5, handle_trans_ack/5,
         handle_unexpected_trans/4, handle_trans_request_abort/5]).

main([Port]) ->
    gateways = ets:new(gateways, [named_table, public]),
    ok = megaco:start(),
    Mid = {domainName, {'DomainName', "mgc.example.test", asn1_NOVALUE}},
    ok = megaco:start_user(Mid, [{user_mod, ?MODULE}, {user_args, [self()]}, {send_mod, megaco_udp},
                                 {encoding_mod, megaco_pretty_text_encoder}]),
    {ok, Transport} = megaco_udp:start_transport(),
    {ok, _, _} = megaco_udp:open(Transport, [{port, list_to_integer(Port)}, {udp_options, [{ip, {127, 0, 0, 1}}]},
                                             {receive_handle, megaco:user_info(Mid, receive_handle)}]),
    Main = self(),
    spawn_link(fun() -> _ = io:get_line(""), Main ! ended end),
    say("listening", []),
    loop().

loop() ->
    receive
        ended -> ok;
        {say, Format, Args} -> say(Format, Args), loop()
    end.

say(Format, Args) ->
    io:format(Format ++ "~n", Args).

handle_connect(_, _, _) -> ok.
handle_disconnect(_, _, _, _) -> ok.
handle_syntax_error(_, _, Error, Main) -> trouble(Main, Error), reply.
handle_message_error(_, _, Error, Main) -> trouble(Main, Error), no_reply.
handle_trans_long_request(_, _, _, _) -> {discard_ack, []}.
handle_trans_reply(_, _, Reply, _, Main) -> trouble(Main, Reply).
handle_trans_ack(_, _, _, _, _) -> ok.
handle_unexpected_trans(_, _, Trans, Main) -> trouble(Main, Trans).
handle_trans_request_abort(_, _, _, _, _) -> ok.

handle_trans_request(Conn, _, [{'ActionRequest', 0, _, _, [{'CommandRequest', Command, _, _}]}], Main) ->
    {discard_ack, request(Conn, gateway(Conn), Command, Main)};
handle_trans_request(_, _, Actions, Main) ->
    trouble(Main, Actions),
    {discard_ack, {'ErrorDescriptor', 501, "Not implemented"}}.

request(Conn, Gateway, {serviceChangeReq, {'ServiceChangeRequest', _, Parms}}, Main) ->
    case element(2, Parms) of
        Method when Method =:= restart; Method =:= failover; Method =:= disconnected ->
            ets:insert(gateways, {Gateway}),
            Main ! {say, "~s ~s", [Method, Gateway]},
            ok = megaco:update_conn_info(Conn, protocol_version, 2),
            spawn_link(fun() -> audit(Conn, Gateway, Main) end),
            actions("Reply=1{Context=-{ServiceChange=ROOT{Services{Version=2}}}}");
        forced ->
            ets:delete(gateways, Gateway),
            Main ! {say, "forced ~s", [Gateway]},
            actions("Reply=1{Context=-{ServiceChange=ROOT}}")
    end;
request(Conn, Gateway, {notifyReq, {'NotifyRequest', [Line], Observed, _}}, Main) ->
    case ets:member(gateways, Gateway) of
        true -> notified(Conn, Gateway, Line, Observed, Main);
        false -> {'ErrorDescriptor', 505, "Transaction request received before a ServiceChange reply"}
    end.

notified(Conn, Gateway, Line, Observed, Main) ->
    {'ObservedEventsDescriptor', _, [Event]} = Observed,
    Main ! {say, "notified ~s ~s ~s", [Gateway, name(Line), element(2, Event)]},
    spawn_link(fun() -> tone(Conn, Gateway, name(Line), Main) end),
    actions("Reply=1{Context=-{Notify=" ++ name(Line) ++ "}}").

%% What lines there are; each is asked to report off-hook.
audit(Conn, Gateway, Main) ->
    Audited = call(Conn, "Transaction=1{Context=-{AuditValue=*{Audit{Packages}}}}", Main),
    Lines = [name(Id) || {auditValueReply, {auditResult, {'AuditResult', Id, _}}} <- Audited],
    Main ! {say, "audited ~s ~s", [Gateway, lists:join($,, Lines)]},
    [{modReply, _} = hd(call(Conn, "Transaction=1{Context=-{Modify=" ++ Line ++ "{Events=77{al/of}}}}", Main))
     || Line <- Lines],
    Main ! {say, "asked ~s", [Gateway]}.

tone(Conn, Gateway, Line, Main) ->
    Modify = "Transaction=1{Context=-{Modify=" ++ Line ++ "{Signals{cg/dt},Events=78{al/on}}}}",
    [{modReply, _}] = call(Conn, Modify, Main),
    Main ! {say, "tone ~s ~s", [Gateway, Line]}.

%% Sends a request; the command replies.
call(Conn, Text, Main) ->
    case megaco:call(Conn, actions(Text), []) of
        {_, {ok, [{'ActionReply', 0, asn1_NOVALUE, _, Replies}]}} -> Replies;
        Other -> trouble(Main, Other), exit(normal)
    end.

trouble(Main, What) ->
    Main ! {say, "trouble ~0p", [What]},
    ok.

gateway({megaco_conn_handle, _, {domainName, {'DomainName', Name, _}}}) -> Name;
gateway({megaco_conn_handle, _, _}) -> "nobody".

name({megaco_term_id, _, Parts}) -> lists:flatten(lists:join("/", Parts)).

%% The actions of a transaction that is written as text: the application's own decoder makes the terms.
actions(Text) ->
    Message = list_to_binary(["MEGACO/2 <mgc.example.test> ", Text]),
    {ok, {'MegacoMessage', _, {'Message', 2, _, {transactions, [{_, Transaction}]}}}} =
        megaco_pretty_text_encoder:decode_message([], dynamic, Message),
    case Transaction of
        {'TransactionRequest', _, Actions} -> Actions;
        {'TransactionReply', _, _, {actionReplies, Actions}} -> Actions
    end.
