#!/usr/bin/env escript
%% The megaco application of Erlang/OTP as a peer of Portunus's tests. Reads frames from standard input, each
%% `u32 length, u8 what, octets`, answers each by a frame `u32 length, u8 status, octets` and ends at the end of input.
%%
%% what 1: decode a text message whose version is in its header. Status 0: taken; the octets are its re-encoding in the
%%         compact form, a zero octet, and its re-encoding in the pretty form. Status 1: refused; why.
%%      2: as 1, without re-encoding.
%%      3: decode a BER message and write the term.
%%      4: encode a term, read as Erlang text: status 0, compact, zero, pretty.
%%      5: encode a term in BER.

main(_) ->
    ok = io:setopts(standard_io, [binary, {encoding, latin1}]),
    loop().

loop() ->
    case file:read(standard_io, 4) of
        {ok, <<Len:32>>} ->
            {ok, <<What, Octets/binary>>} = file:read(standard_io, Len),
            {Status, Out} = answer(What, Octets),
            Bin = iolist_to_binary(Out),
            ok = file:write(standard_io, <<(byte_size(Bin) + 1):32, Status, Bin/binary>>),
            loop();
        eof ->
            ok
    end.

answer(What, Octets) ->
    try work(What, Octets)
    catch Class:Reason -> {1, text({Class, Reason})}
    end.

work(1, Octets) ->
    case decode(Octets) of
        {ok, Msg} -> {0, both(Msg)};
        {error, Reason} -> {1, text(Reason)}
    end;
work(2, Octets) ->
    case decode(Octets) of
        {ok, _} -> {0, []};
        {error, Reason} -> {1, text(Reason)}
    end;
work(3, Octets) ->
    case megaco_ber_encoder:decode_message([], dynamic, Octets) of
        {ok, Msg} -> {0, text(Msg)};
        {error, Reason} -> {1, text(Reason)}
    end;
work(4, Text) ->
    {0, both(term(Text))};
work(5, Text) ->
    {ok, Bin} = megaco_ber_encoder:encode_message([], version(term(Text)), term(Text)),
    {0, Bin}.

decode(Octets) ->
    megaco_compact_text_encoder:decode_message([], dynamic, Octets).

both(Msg) ->
    V = version(Msg),
    {ok, Compact} = megaco_compact_text_encoder:encode_message([], V, Msg),
    {ok, Pretty} = megaco_pretty_text_encoder:encode_message([], V, Msg),
    [Compact, 0, Pretty].

version({'MegacoMessage', _, {'Message', V, _, _}}) -> V.

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Text) ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

text(Term) ->
    io_lib:format("~0p", [Term]).
