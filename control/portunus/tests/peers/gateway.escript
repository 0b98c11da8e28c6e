#!/usr/bin/env escript
%% A media gateway of Erlang/OTP's megaco application, which knows nothing of Portunus: it says ServiceChange to whoever it
%% takes for its controller, answers audits and modifications of two lines, and does what it is told.
%%
%%     gateway.escript GATEWAY PORT CONTROLLERPORT
%%
%% Sends from 127.0.0.1:PORT over UDP (text). Reads `lift` (off-hook of the first line is notified) and `leave` (out of
%% service), a line each, and ends at the end of its input. Says what it sees:
%%
%%     served CONTROLLER        audited        asked LINE EVENT        tone LINE        notified        left
%%     trouble WHAT
-mode(compile).
-export([handle_connect/3, handle_disconnect/4, handle_syntax_error/4, handle_message_error/4,
         handle_trans_request/4, handle_trans_long_request/4, handle_trans_reply/5, handle_trans_ack/5,
         handle_unexpected_trans/4, handle_trans_request_abort/5]).

main([Name, Port, Controller]) ->
    ok = megaco:start(),
    Mid = {domainName, {'DomainName', Name, asn1_NOVALUE}},
    ok = megaco:start_user(Mid, [{user_mod, ?MODULE}, {user_args, [self()]}, {send_mod, megaco_udp},
                                 {encoding_mod, megaco_pretty_text_encoder}]),
    ok = megaco:update_user_info(Mid, protocol_version, 2),
    {ok, Transport} = megaco_udp:start_transport(),
    Receive = megaco:user_info(Mid, receive_handle),
    {ok, Handle, Pid} = megaco_udp:open(Transport, [{port, list_to_integer(Port)},
                                                    {udp_options, [{ip, {127, 0, 0, 1}}]}, {receive_handle, Receive}]),
    Send = megaco_udp:create_send_handle(Handle, {127, 0, 0, 1}, list_to_integer(Controller)),
    {ok, Conn} = megaco:connect(Receive, preliminary_mid, Send, Pid),
    Main = self(),
    spawn_link(fun() -> read(Main) end),
    change(Conn, "Restart,Reason=\"901 Cold Boot\"", served, Main),
    loop(Mid).

read(Main) ->
    case io:get_line("") of
        eof -> Main ! ended;
        Line -> Main ! list_to_atom(string:trim(Line)), read(Main)
    end.

loop(Mid) ->
    Main = self(),
    receive
        ended -> ok;
        {say, Format, Args} -> io:format(Format ++ "~n", Args), loop(Mid);
        lift ->
            [Conn] = megaco:user_info(Mid, connections),
            spawn_link(fun() ->
                Lifted = "Transaction=1{Context=-{Notify=aaln/1{ObservedEvents=77{al/of}}}}",
                say(Main, element(1, call(Conn, Lifted)) =:= ok, "notified", [])
            end),
            loop(Mid);
        leave ->
            [Conn] = megaco:user_info(Mid, connections),
            change(Conn, "Forced,Reason=\"905 Termination taken out of service\"", left, Main),
            loop(Mid)
    end.

%% A service change of all of it; what its reply means.
change(Conn, Method, What, Main) ->
    spawn_link(fun() ->
        case call(Conn, "Transaction=1{Context=-{ServiceChange=ROOT{Services{Method=" ++ Method ++ "}}}}") of
            {ok, [{'ActionReply', 0, asn1_NOVALUE, _, [{serviceChangeReply, _}]}]} when What =:= served ->
                [{megaco_conn_handle, _, {domainName, {'DomainName', Name, _}}}] =
                    megaco:user_info(element(2, Conn), connections),
                say(Main, true, "served ~s", [Name]);
            {ok, _} -> say(Main, true, "~s", [What]);
            Other -> trouble(Main, Other)
        end
    end).

call(Conn, Text) ->
    element(2, megaco:call(Conn, actions(Text), [])).

say(Main, true, Format, Args) -> Main ! {say, Format, Args};
say(Main, false, Format, _) -> trouble(Main, Format).

handle_connect(_, _, _) -> ok.
handle_disconnect(_, _, _, _) -> ok.
handle_syntax_error(_, _, Error, Main) -> trouble(Main, Error), reply.
handle_message_error(_, _, Error, Main) -> trouble(Main, Error), no_reply.
handle_trans_long_request(_, _, _, _) -> {discard_ack, []}.
handle_trans_reply(_, _, Reply, _, Main) -> trouble(Main, Reply).
handle_trans_ack(_, _, _, _, _) -> ok.
handle_unexpected_trans(_, _, Trans, Main) -> trouble(Main, Trans).
handle_trans_request_abort(_, _, _, _, _) -> ok.

handle_trans_request(_, _, [{'ActionRequest', 0, _, _, [{'CommandRequest', Command, _, _}]}], Main) ->
    {discard_ack, request(Command, Main)};
handle_trans_request(_, _, Actions, Main) ->
    trouble(Main, Actions),
    {discard_ack, {'ErrorDescriptor', 501, "Not implemented"}}.

%% An audit of ROOT is a sign of life, which anybody may ask for.
request({auditValueRequest, {'AuditRequest', {megaco_term_id, _, [["root"]]}, _}}, _) ->
    actions("Reply=1{Context=-{AuditValue=ROOT}}");
request({auditValueRequest, {'AuditRequest', Id, _}}, Main) ->
    case megaco_name(Id) of
        "ROOT" -> actions("Reply=1{Context=-{AuditValue=ROOT}}");
        _ ->
            Main ! {say, "audited", []},
            Line = fun(N) -> "AuditValue=aaln/" ++ N ++ "{Packages{al-1,cg-1}}" end,
            actions("Reply=1{Context=-{" ++ Line("1") ++ "," ++ Line("2") ++ "}}")
    end;
request({modReq, {'AmmRequest', [Id], Descriptors}}, Main) ->
    Line = megaco_name(Id),
    [Main ! {say, "asked ~s ~s", [Line, element(2, Event)]}
     || {eventsDescriptor, {'EventsDescriptor', _, Events}} <- Descriptors, Event <- Events],
    [Main ! {say, "tone ~s", [Line]} || {signalsDescriptor, _} <- Descriptors],
    actions("Reply=1{Context=-{Modify=" ++ Line ++ "}}").

megaco_name({megaco_term_id, false, ["root"]}) -> "ROOT";
megaco_name({megaco_term_id, _, Parts}) ->
    lists:flatten(lists:join("/", [case P of [$* | _] -> "*"; _ -> P end || P <- Parts])).

trouble(Main, What) ->
    Main ! {say, "trouble ~0p", [What]},
    ok.

%% The actions of a transaction that is written as text: the application's own decoder makes the terms.
actions(Text) ->
    Message = list_to_binary(["MEGACO/2 <gw.example.test> ", Text]),
    {ok, {'MegacoMessage', _, {'Message', 2, _, {transactions, [{_, Transaction}]}}}} =
        megaco_pretty_text_encoder:decode_message([], dynamic, Message),
    case Transaction of
        {'TransactionRequest', _, Actions} -> Actions;
        {'TransactionReply', _, _, {actionReplies, Actions}} -> Actions
    end.
